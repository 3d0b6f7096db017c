"""Rectangles that are taken out of the images of a stack: Cutout's square and timm's random erasing."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from trainer.augmentation.stacks import Draws, pieces, to_device

TRIES = 10
AREAS = (0.02, 1 / 3)  # of the image
ASPECTS = (0.3, 1 / 0.3)  # height over width


def draw_cutout(size: int, count: int, generator: torch.Generator) -> Draws:
    """Draw the middles of squares, any pixel of an image of `size` pixels."""
    return {"cutout": torch.randint(size, (count, 2), generator=generator)}


def cutout(images: Tensor, draws: Draws) -> None:
    """Blacken a square of half the side, as far as it lies inside, in (n, C, S, S) images, which are overwritten."""
    side = images.shape[-1] // 2
    starts = draws["cutout"] - side // 2
    inside = _inside(torch.cat([starts, torch.full_like(starts, side)], dim=1), images)
    for part in pieces(images):
        images[part].masked_fill_(inside[part], 0)


def draw_erasing(probability: float, size: int, count: int, generator: torch.Generator) -> Draws:
    """Draw what `erase` erases: of ten tries the first rectangle that fits, or nothing where none does.

    Args:
        probability: share of the images that are erased in.
        size: side of the images in pixels.
        count: images.
        generator: on the CPU.

    Returns:
        `erase_box`: (count, 4) top, left, height and width, without height where nothing is erased; `erase_noise`:
        (count,) where its noise begins, as a share of the table of noise.
    """
    chosen = torch.rand(count, 1, generator=generator) <= probability
    areas = size**2 * torch.empty(count, TRIES).uniform_(*AREAS, generator=generator)
    aspects = torch.empty(count, TRIES).uniform_(*map(math.log, ASPECTS), generator=generator).exp()
    corners, noise = torch.rand(count, 2, generator=generator), torch.rand(count, generator=generator)
    sides = torch.stack([areas * aspects, areas / aspects], dim=2).sqrt_().round_()  # (count, 10, 2)
    fits = (sides < size).all(2)
    sides = sides[torch.arange(count), fits.int().argmax(1)] * (chosen & fits.any(1, keepdim=True))
    corners = (corners * (size - sides + 1)).floor_()
    return {"erase_box": torch.cat([corners, sides], dim=1).long(), "erase_noise": noise}


def erase(pixels: Tensor, draws: Draws, noise: Tensor) -> Tensor:
    """Fill a rectangle of some images with normal noise.

    Args:
        pixels: (n, C, S, S) normalised float images, overwritten.
        draws: n rows of `draw_erasing`.
        noise: (M,) standard normal numbers on the same device, M at least C * S * S. Each image takes a stretch of
            C * S * S of them, so what it gets depends on its own row of the draws alone.

    Returns:
        pixels.
    """
    boxes, values = draws["erase_box"], pixels[:1].numel()
    if not len(pixels) or not boxes[:, 2:].prod(1).any():
        return pixels
    chosen = boxes[:, 2:].prod(1).nonzero().flatten()
    starts = (draws["erase_noise"][chosen].double() * (len(noise) - values + 1)).long()
    rows, starts = to_device(torch.stack([chosen, starts]), pixels.device)
    stretches = noise.to(pixels.dtype).unfold(0, values, 1)  # a view: (M - C * S * S + 1, C * S * S)
    kept = pixels[rows]
    pixels[rows] = torch.where(_inside(boxes[chosen], pixels), stretches[starts].view_as(kept), kept)
    return pixels


def _inside(boxes: Tensor, images: Tensor) -> Tensor:
    """Where the pixels of boxes (n, 4) on the CPU are: (n, 1, H, W) on the device of the images."""
    tops, lefts, heights, widths = boxes.view(-1, 4, 1).unbind(1)
    y, x = torch.arange(images.shape[2]), torch.arange(images.shape[3])
    rows = to_device((y >= tops) & (y < tops + heights), images.device)
    columns = to_device((x >= lefts) & (x < lefts + widths), images.device)
    return rows[:, None, :, None] & columns[:, None, None, :]
