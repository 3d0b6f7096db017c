"""Colour operations on stacks of images, each image by an amount of its own, as Pillow's ImageOps and ImageEnhance do.

What changes each value by itself is a table of 256 values, an image's own; all kinds of tables are looked up at once.
Images are (n, C, S, S), uint8 or, where they have more than 8 bits, float32 from 0 to 255 with fractions, which Pillow
does not know: there nothing is rounded, and what a table says is interpolated.
"""

from __future__ import annotations

import torch
from torch import Tensor

VALUES = torch.arange(256).view(1, 256)

# Tables that depend on the amounts alone: (n,) on the CPU to (n, 256) float32 there; uint8 images cut fractions off


def brightness_tables(factors: Tensor) -> Tensor:
    """Values times float32 factors."""
    return _blend(torch.zeros(1), VALUES.float(), factors.view(-1, 1))


def invert_tables(count: int) -> Tensor:
    """Light to dark, so many times the same."""
    return (255.0 - VALUES).expand(count, -1)


def posterize_tables(bits: Tensor) -> Tensor:
    """The upper 0 to 8 bits of each value; 0 is black, as in Pillow before 13, which refuses it."""
    steps = 2 ** (8 - bits.view(-1, 1))
    return (VALUES // steps * steps).float()


def solarize_tables(thresholds: Tensor) -> Tensor:
    """Values from the thresholds, 0 to 256, on inverted."""
    return torch.where(thresholds.view(-1, 1) > VALUES, VALUES, 255 - VALUES).float()


def solarize_add_tables(additions: Tensor) -> Tensor:
    """Values below 128 made lighter."""
    lighter = (VALUES + additions.view(-1, 1)).clamp(max=255)
    return torch.where(VALUES < 128, lighter, VALUES).float()


# Tables that depend on the images too, (n, C, 256) float32 on their device


def contrast_tables(images: Tensor, factors: Tensor) -> Tensor:
    """Away from the mean grey of RGB images, or of other images from each channel's mean, by (n,) float32 factors."""
    means = _mean_greys(images).view(len(images), -1, 1)
    tables = _blend(means, _values(images.device).float(), factors.view(-1, 1, 1))
    return tables.expand(-1, images.shape[1], -1)


def _mean_greys(images: Tensor) -> Tensor:
    """What a contrast of 0 leaves: Pillow's, a whole number for a uint8 image, (n, 1, 1, 1); not RGB: (n, C, 1, 1)."""
    if images.shape[1] != 3:
        means = images.float().mean(dim=(2, 3), keepdim=True)
        return (means + 0.5).floor() if images.dtype == torch.uint8 else means
    pixels = images[0, 0].numel()
    sums = grey(images).flatten(1).sum(1)
    return ((2 * sums + pixels) // (2 * pixels)).float().view(-1, 1, 1, 1)


def autocontrast_tables(images: Tensor) -> Tensor:
    """From each channel's darkest and lightest value to 0 and 255."""
    lowest, highest = _extremes(images)
    widths = (highest - lowest).clamp(min=1).double()
    scales = torch.full_like(widths, 255) / widths  # 255 / widths would take a reciprocal, which rounds twice
    # In Pillow's order; it cuts the fraction off.
    stretched = (_values(images.device) * scales + -lowest * scales).clamp(0, 255).floor()
    return torch.where(lowest < highest, stretched, _values(images.device)).float()


def stretch(images: Tensor) -> Tensor:
    """`autocontrast_tables` applied to float32 images without steps: they may fill a small part of the range."""
    lowest, highest = (each.unsqueeze(3) for each in _extremes(images))
    scales = torch.where(highest > lowest, 255 / (highest - lowest), 1)
    return torch.where(highest > lowest, ((images - lowest) * scales).clamp_(0, 255), images)


def equalize_tables(images: Tensor) -> Tensor:
    """Each channel's values spread so that they are about equally frequent."""
    values = images.flatten(2).long()
    histograms = values.new_zeros(*values.shape[:2], 256).scatter_add_(2, values, torch.ones_like(values))
    _, highest = _extremes(images)
    steps = (values.shape[2] - histograms.gather(2, highest.long())) // 255
    below = histograms.cumsum(2) - histograms
    spread = ((steps // 2 + below) // steps.clamp(min=1)).clamp(max=255)
    return torch.where(steps > 0, spread, _values(images.device)).float()


def _extremes(images: Tensor) -> tuple[Tensor, Tensor]:
    """Lowest and highest value of each channel, (n, C, 1) whole numbers of uint8 images."""
    values = images.flatten(2)
    extremes = values.amin(2, keepdim=True), values.amax(2, keepdim=True)
    return tuple(each.long() if images.dtype == torch.uint8 else each for each in extremes)


def _values(device: torch.device) -> Tensor:
    return torch.arange(256, device=device).view(1, 256)


def look_up(images: Tensor, tables: Tensor) -> Tensor:
    """(n, C, S, S) images through tables of their own, (n, C, 256) float32."""
    values = images.flatten(2)
    if images.dtype == torch.uint8:
        return tables.to(torch.uint8).gather(2, values.long()).view_as(images)
    below = values.long()
    lower = tables.gather(2, below)
    upper = tables.gather(2, (below + 1).clamp_(max=255))
    return torch.lerp(lower, upper, values - below).view_as(images)


# What mixes channels or pixels


def adjust_saturation(images: Tensor, factors: Tensor) -> Tensor:
    """Away from their own grey: (n, 3, S, S) uint8 images by (n,) float32 factors."""
    return _blend(grey(images).float(), images.float(), factors.view(-1, 1, 1, 1)).short().to(torch.uint8)


def adjust_sharpness(images: Tensor, factors: Tensor) -> Tensor:
    """Away from a blurred copy: (n, C, S, S) images by (n,) float32 factors; edge pixels stay as they are."""
    whole = images.dtype == torch.uint8
    pixels = images.short() if whole else images
    rows = pixels[:, :, :-2] + pixels[:, :, 1:-1] + pixels[:, :, 2:]
    inner = pixels[:, :, 1:-1, 1:-1]
    sums = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * inner
    blurred = ((sums + 6.5) / 13).floor_() if whole else sums / 13  # a half never occurs
    result = images.clone()
    sharper = _blend(blurred, inner.float(), factors.view(-1, 1, 1, 1))
    result[:, :, 1:-1, 1:-1] = sharper.short() if whole else sharper
    return result


def grey(images: Tensor) -> Tensor:
    """Pillow's "L" of (n, 3, S, S) images of whole numbers: (n, 1, S, S) int32."""
    red, green, blue = images.int().split(1, dim=1)
    return (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16


def _blend(other: Tensor, images: Tensor, factors: Tensor) -> Tensor:
    """`Image.blend`, float32; of whole numbers Pillow cuts the fraction off, as a turn to uint8 does."""
    return ((images - other) * factors).add_(other).clamp_(0, 255)
