"""Pillow's Gaussian blur of stacks, with a width for each image, as two products with matrices."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.augmentation.stacks import Draws, grouped, to_device

SIGMAS = (0.1, 2.0)  # pixels


def draw_blurs(count: int, generator: torch.Generator) -> Draws:
    """Draw the widths of the blur, sigma in pixels; 0 for the half of the images that stay sharp."""
    chosen = torch.rand(count, generator=generator) < 0.5
    sigmas = torch.empty(count).uniform_(*SIGMAS, generator=generator)
    return {"blur": torch.where(chosen, sigmas, 0.0)}


def blur_some(images: Tensor, draws: Draws) -> None:
    """Blur those of (n, C, S, S) images that have a width, in place."""
    taps = to_device(_box_taps(draws["blur"]), images.device)
    sources = to_device(_box_sources(images.shape[-1]), images.device)
    for blurred, rows in grouped(draws["blur"] > 0, images):
        if blurred:
            box = torch.einsum("nk,kij->nij", taps[rows], sources)
            blur = (box @ box @ box)[:, None]
            whole = torch.round if images.dtype == torch.uint8 else torch.clone
            pixels = whole(images[rows].float() @ blur.mT)
            images[rows] = whole(blur @ pixels).to(images.dtype)


def _box_taps(sigmas: Tensor) -> Tensor:
    """Weights (N, 5) of the box that, applied three times, has the variance of a Gaussian of at most 2 pixels.

    Pillow's GaussianBlur: a box of fractional width, its outermost pixels counted in part (Gwosdek et al. 2011).
    """
    variance = sigmas.double().view(-1, 1) ** 2 / 3
    whole = (((12 * variance + 1).sqrt() - 1) / 2).floor()
    part = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance) / (6 * (variance - (whole + 1) ** 2))
    taps = (whole + part + 1 - torch.arange(-2, 3).abs()).clamp(0, 1)
    return (taps / taps.sum(1, keepdim=True)).float()


def _box_sources(size: int) -> Tensor:
    """Matrices (5, S, S) that fetch each pixel's neighbours two before to two after it, the edge repeated."""
    neighbours = torch.arange(size) + torch.arange(-2, 3).view(5, 1)
    return F.one_hot(neighbours.clamp(0, size - 1), size).float()
