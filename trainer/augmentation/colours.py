"""Colour operations on stacks of images, each image by an amount of its own, as Pillow's ImageOps and ImageEnhance do.

What changes each value by itself is a table of 256 values, an image's own; all kinds of tables are looked up at once.
"""

from __future__ import annotations

import torch
from torch import Tensor

VALUES = torch.arange(256).view(1, 256)

# Tables that depend on the amounts alone: (n,) on the CPU to (n, 256) uint8 there


def brightness_tables(factors: Tensor) -> Tensor:
    """Values times float32 factors."""
    return _blend(torch.zeros(1), VALUES.float(), factors.view(-1, 1))


def invert_tables(count: int) -> Tensor:
    """Light to dark, so many times the same."""
    return (255 - VALUES).to(torch.uint8).expand(count, -1)


def posterize_tables(bits: Tensor) -> Tensor:
    """The upper 0 to 8 bits of each value; 0 is black, as in Pillow before 13, which refuses it."""
    steps = 2 ** (8 - bits.view(-1, 1))
    return (VALUES // steps * steps).to(torch.uint8)


def solarize_tables(thresholds: Tensor) -> Tensor:
    """Values from the thresholds, 0 to 256, on inverted."""
    return torch.where(thresholds.view(-1, 1) > VALUES, VALUES, 255 - VALUES).to(torch.uint8)


def solarize_add_tables(additions: Tensor) -> Tensor:
    """Values below 128 made lighter."""
    lighter = (VALUES + additions.view(-1, 1)).clamp(max=255)
    return torch.where(VALUES < 128, lighter, VALUES).to(torch.uint8)


# Tables that depend on the images too, (n, 3, 256) uint8 on their device


def contrast_tables(images: Tensor, factors: Tensor) -> Tensor:
    """Away from the mean grey of (n, 3, S, S) uint8 images by (n,) float32 factors."""
    pixels = images[0, 0].numel()
    sums = grey(images).flatten(1).sum(1)
    means = (2 * sums + pixels) // (2 * pixels)
    tables = _blend(means.view(-1, 1).float(), _values(images.device).float(), factors.view(-1, 1))
    return tables.unsqueeze(1).expand(-1, 3, -1)


def autocontrast_tables(images: Tensor) -> Tensor:
    """From each channel's darkest and lightest value to 0 and 255."""
    lowest, highest = _extremes(images)
    widths = (highest - lowest).clamp(min=1).double()
    scales = torch.full_like(widths, 255) / widths  # 255 / widths would take a reciprocal, which rounds twice
    # In Pillow's order; it cuts the fraction off.
    stretched = (_values(images.device) * scales + -lowest * scales).clamp(0, 255).long()
    return torch.where(lowest < highest, stretched, _values(images.device)).to(torch.uint8)


def equalize_tables(images: Tensor) -> Tensor:
    """Each channel's values spread so that they are about equally frequent."""
    values = images.flatten(2).long()
    histograms = values.new_zeros(len(images), 3, 256).scatter_add_(2, values, torch.ones_like(values))
    _, highest = _extremes(images)
    steps = (values.shape[2] - histograms.gather(2, highest)) // 255
    below = histograms.cumsum(2) - histograms
    spread = ((steps // 2 + below) // steps.clamp(min=1)).clamp(max=255)
    return torch.where(steps > 0, spread, _values(images.device)).to(torch.uint8)


def _extremes(images: Tensor) -> tuple[Tensor, Tensor]:
    """Lowest and highest value of each channel, (n, 3, 1) int64."""
    values = images.flatten(2)
    return values.amin(2, keepdim=True).long(), values.amax(2, keepdim=True).long()


def _values(device: torch.device) -> Tensor:
    return torch.arange(256, device=device).view(1, 256)


def look_up(images: Tensor, tables: Tensor) -> Tensor:
    """(n, 3, S, S) uint8 images through tables of their own, (n, 3, 256) uint8."""
    return tables.gather(2, images.flatten(2).long()).view_as(images)


# What mixes channels or pixels


def adjust_saturation(images: Tensor, factors: Tensor) -> Tensor:
    """Away from their own grey: (n, 3, S, S) uint8 images by (n,) float32 factors."""
    return _blend(grey(images).float(), images.float(), factors.view(-1, 1, 1, 1))


def adjust_sharpness(images: Tensor, factors: Tensor) -> Tensor:
    """Away from a blurred copy: (n, 3, S, S) uint8 images by (n,) float32 factors; edge pixels stay as they are."""
    pixels = images.short()
    rows = pixels[:, :, :-2] + pixels[:, :, 1:-1] + pixels[:, :, 2:]
    inner = pixels[:, :, 1:-1, 1:-1]
    sums = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * inner
    blurred = ((sums + 6.5) / 13).floor_()  # a half never occurs
    result = images.clone()
    result[:, :, 1:-1, 1:-1] = _blend(blurred, inner.float(), factors.view(-1, 1, 1, 1))
    return result


def grey(images: Tensor) -> Tensor:
    """Pillow's "L" of (n, 3, S, S) images of whole numbers: (n, 1, S, S) int32."""
    red, green, blue = images.int().split(1, dim=1)
    return (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16


def _blend(other: Tensor, images: Tensor, factors: Tensor) -> Tensor:
    """Pillow's `Image.blend` of float32 whole numbers: it cuts the fraction off."""
    return ((images - other) * factors).add_(other).clamp_(0, 255).short().to(torch.uint8)
