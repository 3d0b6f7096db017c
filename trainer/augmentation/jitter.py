"""Colours of stacks, with factors for each image: torchvision's ColorJitter and RandomGrayscale as Pillow does them.

Pixels are float images (n, C, H, W) of 0 to 255, factors (n, 1, 1, 1); for uint8 images each step rounds as Pillow
does. Images that are not RGB have no saturation and no hue.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.augmentation.colours import grey
from trainer.augmentation.stacks import Draws, grouped, pieces, to_device
from trainer.data import RGB, PixelFormat

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
STRENGTH = 0.4  # of brightness, contrast and saturation


def draw_jitter(
    hue: float, probability: float, count: int, generator: torch.Generator, pixels: PixelFormat = RGB
) -> Draws:
    """Draw the order of the operations and a factor for each.

    Args:
        hue: largest turn of the hue, in turns; 0 leaves that operation out.
        probability: share of the images that are jittered.
        count: images.
        generator: on the CPU.
        pixels: of the images; without colours saturation and hue stay. Default: RGB.

    Returns:
        `jitter_order`: (count, 3 or 4) operations, the first one first; `jitter_factors`: the factors in that order,
        1 (a turn: 0) where nothing is to happen.
    """
    operations = 4 if hue else 3
    of_colour = torch.tensor([False, False, True, True])[:operations]
    chosen = torch.rand(count, 1, generator=generator) < probability
    order = torch.rand(count, operations, generator=generator).argsort(dim=1)
    spread = torch.tensor([STRENGTH] * 3 + [hue])[:operations]
    neutral = torch.tensor([1.0, 1.0, 1.0, 0.0])[:operations]
    drawn = spread * torch.empty(count, operations).uniform_(-1, 1, generator=generator)
    factors = neutral + torch.where(chosen if pixels.is_rgb else chosen & ~of_colour, drawn, 0.0)
    return {"jitter_order": order, "jitter_factors": factors.gather(1, order)}


def jitter(images: Tensor, draws: Draws) -> None:
    """ColorJitter each of (n, C, S, S) images, which are overwritten."""
    is_whole = images.dtype == torch.uint8
    order, factors = draws["jitter_order"], draws["jitter_factors"]
    turns = torch.where(order == HUE, factors, 0.0)
    blends = torch.where(order == HUE, 1.0, factors)
    table = torch.stack([blends, order == CONTRAST, order == SATURATION, turns])  # (4, n, 3 or 4)
    table = to_device(table, images.device).view(4, *order.shape, 1, 1, 1)
    for part in pieces(images):
        pixels = images[part].float()
        for step in range(order.shape[1]):
            factor, contrast, saturation, turn = table[:, part, step]
            pixels = _blend(pixels, _other(pixels, contrast, saturation, is_whole), factor)
            if is_whole:
                pixels.floor_()
            for turned, rows in grouped(turns[part, step] != 0, pixels):
                if turned:
                    pixels[rows] = turn_hue(pixels[rows], turn[rows])
        images[part] = pixels.to(images.dtype)


def _other(pixels: Tensor, contrast: Tensor, saturation: Tensor, is_whole: bool) -> Tensor:
    """What an operation blends an image with: its mean grey, its grey picture, or black; choices are 0 or 1."""
    if pixels.shape[1] != 3:
        means = pixels.mean(dim=(2, 3), keepdim=True)
        return (means.add_(0.5).floor_() if is_whole else means) * contrast
    greys = grey(pixels).float()
    means = greys.mean(dim=(1, 2, 3), keepdim=True).add_(0.5).floor_()
    return greys.mul_(saturation).add_(means * contrast)


def _blend(pixels: Tensor, other: Tensor, factors: Tensor) -> Tensor:
    return pixels.sub_(other).mul_(factors).add_(other).clamp_(0, 255)


def turn_hue(pixels: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue of HSV, the six sides of the colour hexagon, by so many turns."""
    red, green, blue = pixels.split(1, dim=1)
    value = pixels.amax(dim=1, keepdim=True)
    chroma = value - pixels.amin(dim=1, keepdim=True)
    divisor = chroma.clamp(min=1)
    side = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, (blue - red) / divisor + 2, (red - green) / divisor + 4),
    )
    side = side + 6 * turns
    corner = torch.cat([side + 5, side + 3, side + 1], dim=1) % 6
    missing = torch.minimum(corner, 4 - corner).clamp_(0, 1)  # of each channel: all from 1 to 3, none from 4 on
    return (value - chroma * missing).round_()


def draw_greys(count: int, generator: torch.Generator) -> Draws:
    """Draw which images lose their colours: one in five."""
    return {"grey": torch.rand(count, generator=generator) < 0.2}


def grey_some(images: Tensor, draws: Draws) -> None:
    """Turn some of (n, 3, S, S) uint8 images to grey, in place."""
    for chosen, rows in grouped(draws["grey"], images):
        if chosen:
            images[rows] = grey(images[rows]).to(torch.uint8).expand(-1, 3, -1, -1)
