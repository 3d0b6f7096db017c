"""Training transforms of whole stacks of small images at once, on the device where they are kept.

They draw as the transforms of the same names in `transforms.py` do, one image at a time, and nothing that they do asks
the device for a value: what happens to which image is decided on the host, from draws made there.
"""

from __future__ import annotations

import math
from itertools import permutations

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.augmentation.autoaugment import augment_stack
from trainer.augmentation.stacks import chunks, grouped, to_device
from trainer.augmentation.transforms import SimclrStrength, simclr_strength

BATCH_TRANSFORMS = ("crop_flip", "autoaugment", "simclr")


def augment_batch(name: str, images: Tensor, generator: torch.Generator) -> Tensor:
    """Augment each image of a stack by draws of its own.

    Args:
        name: "crop_flip", "autoaugment" or "simclr", as `train_transform` describes them.
        images: (N, 3, S, S) uint8 on any device, left as they are.
        generator: on the CPU. Every draw comes from it, whatever the device.

    Returns:
        (N, 3, S, S) uint8 on the same device, not normalised.

    Raises:
        ValueError: an unknown name, or images of another type or shape.
    """
    if name not in BATCH_TRANSFORMS:
        raise ValueError(f"unknown batch transform {name!r}; choose one of {', '.join(BATCH_TRANSFORMS)}")
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3]:
        raise ValueError(f"images must be (N, 3, S, S) uint8, got {tuple(images.shape)} {images.dtype}")
    if name == "simclr":
        strength = simclr_strength(images.shape[-1])
        result = _resized_crop(images, strength.smallest_area, generator)
        _colour_jitter(result, strength, generator)
        _grey_some(result, generator)
        _blur_some(result, generator)
        return result
    result = _crop(images, generator)
    if name == "autoaugment":
        augment_stack(result, generator)
        _cutout(result, generator)
    return result


# Where the pixels come from


def _crop(images: Tensor, generator: torch.Generator) -> Tensor:
    count, _, size, _ = images.shape
    padding = size // 8
    offsets = torch.randint(2 * padding + 1, (count, 2), generator=generator)
    flips = torch.randint(2, (count, 1, 1, 1), generator=generator).bool()
    (tops, lefts), flips = to_device(offsets, images.device).unbind(1), to_device(flips, images.device)
    result = torch.empty_like(images)
    for part in chunks(count):
        padded = F.pad(images[part], (padding,) * 4)
        windows = padded.unfold(2, size, 1).unfold(3, size, 1)  # a view: (n, 3, 2p + 1, 2p + 1, S, S)
        crops = windows[torch.arange(len(padded), device=images.device), :, tops[part], lefts[part]]
        result[part] = torch.where(flips[part], crops.flip(3), crops)
    return result


def _resized_crop(images: Tensor, smallest_area: float, generator: torch.Generator) -> Tensor:
    count, _, size, _ = images.shape
    boxes = _boxes(count, size, smallest_area, generator)
    flips = torch.randint(2, (count, 1), generator=generator).bool()
    x, y = _sources(boxes[:, 1:2], boxes[:, 3:], size), _sources(boxes[:, :1], boxes[:, 2:3], size)
    x, y = to_device(torch.where(flips, x.flip(1), x), images.device), to_device(y, images.device)
    result = torch.empty_like(images)
    for part in chunks(count):
        grid = torch.stack(torch.broadcast_tensors(x[part, None, :], y[part, :, None]), dim=-1)
        pixels = F.grid_sample(images[part].float(), grid, padding_mode="border", align_corners=False)
        result[part] = pixels.round().to(torch.uint8)
    return result


def _boxes(count: int, size: int, smallest_area: float, generator: torch.Generator) -> Tensor:
    """Crops (N, 4) of whole pixels, each (top, left, height, width): of ten tries the first that fits, else all."""
    areas = size**2 * torch.empty(count, 10).uniform_(smallest_area, 1, generator=generator)
    ratios = torch.empty(count, 10).uniform_(-math.log(4 / 3), math.log(4 / 3), generator=generator).exp()
    sides = torch.stack([areas / ratios, areas * ratios], dim=2).sqrt().round()  # (N, 10, 2)
    fits = ((sides >= 1) & (sides <= size)).all(2)
    first = sides[torch.arange(count), fits.int().argmax(1)]
    sides = torch.where(fits.any(1, keepdim=True), first, float(size))
    corners = (torch.rand(count, 2, generator=generator) * (size - sides + 1)).floor()
    return torch.cat([corners, sides], dim=1)


def _sources(start: Tensor, length: Tensor, size: int) -> Tensor:
    """Where the S pixels of a resized crop come from on one axis, (N, S) in the coordinates of `grid_sample`.

    Bilinear interpolation ends with the crop, as where an image is cut first; a crop is never larger than the result.
    """
    inside = (torch.arange(size) + 0.5) * length / size - 0.5
    inside = torch.minimum(inside.clamp(min=0), length - 1)
    return (2 * (start + inside) + 1) / size - 1


def _cutout(images: Tensor, generator: torch.Generator) -> None:
    count, _, size, _ = images.shape
    side = size // 2
    starts = torch.randint(size, (count, 2, 1), generator=generator) - side // 2
    steps = torch.arange(size)
    rows, columns = to_device((steps >= starts) & (steps < starts + side), images.device).unbind(1)
    for part in chunks(count):
        images[part].masked_fill_(rows[part, None, :, None] & columns[part, None, None, :], 0)


# Colours and blur: float images of whole numbers in 0..255, factors (n, 1, 1, 1); each step rounds as Pillow does


def _colour_jitter(images: Tensor, strength: SimclrStrength, generator: torch.Generator) -> None:
    count = len(images)
    chosen = torch.rand(count, generator=generator) < strength.jitter_probability
    orders = list(permutations((_brightness, _contrast, _saturation, _hue)))
    drawn = torch.randint(len(orders), (count,), generator=generator)
    factors = torch.empty(count, 4).uniform_(-1, 1, generator=generator) * torch.tensor([0.4, 0.4, 0.4, strength.hue])
    factors = to_device(factors + torch.tensor([1.0, 1.0, 1.0, 0.0]), images.device)
    columns = {_brightness: 0, _contrast: 1, _saturation: 2, _hue: 3}
    for group, rows in grouped(torch.where(chosen, 1 + drawn, 0), images.device):
        if group:
            pixels, drawn_factors = images[rows].float(), factors[rows]
            for adjust in orders[group - 1]:
                pixels = adjust(pixels, drawn_factors[:, columns[adjust]].view(-1, 1, 1, 1))
            images[rows] = pixels.to(torch.uint8)


def _brightness(images: Tensor, factors: Tensor) -> Tensor:
    return _blend(images, 0.0, factors)


def _contrast(images: Tensor, factors: Tensor) -> Tensor:
    return _blend(images, _grey(images).mean(dim=(1, 2, 3), keepdim=True).round(), factors)


def _saturation(images: Tensor, factors: Tensor) -> Tensor:
    return _blend(images, _grey(images), factors)


def _blend(images: Tensor, other: Tensor | float, factors: Tensor) -> Tensor:
    return (other + factors * (images - other)).clamp(0, 255).floor()


def _grey(images: Tensor) -> Tensor:
    red, green, blue = images.split(1, dim=1)
    return (0.2989 * red + 0.587 * green + 0.114 * blue).round()


def _hue(images: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue of HSV, the six sides of the colour hexagon, by so many turns."""
    red, green, blue = images.split(1, dim=1)
    value = images.amax(dim=1, keepdim=True)
    chroma = value - images.amin(dim=1, keepdim=True)
    divisor = chroma.clamp(min=1)
    side = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, (blue - red) / divisor + 2, (red - green) / divisor + 4),
    )
    side = side + 6 * turns
    corner = torch.cat([side + 5, side + 3, side + 1], dim=1) % 6
    missing = torch.minimum(corner, 4 - corner).clamp(0, 1)  # of each channel: all from 1 to 3, none from 4 on
    return (value - chroma * missing).round()


def _grey_some(images: Tensor, generator: torch.Generator) -> None:
    chosen = torch.rand(len(images), generator=generator) < 0.2
    for grey, rows in grouped(chosen, images.device):
        if grey:
            images[rows] = _grey(images[rows].float()).to(torch.uint8).expand(-1, 3, -1, -1)


def _blur_some(images: Tensor, generator: torch.Generator) -> None:
    chosen = torch.rand(len(images), generator=generator) < 0.5
    sigmas = torch.empty(len(images)).uniform_(0.1, 2.0, generator=generator)
    taps = to_device(_box_taps(sigmas), images.device)
    sources = to_device(_box_sources(images.shape[-1]), images.device)
    for blurred, rows in grouped(chosen, images.device):
        if blurred:
            box = torch.einsum("nk,kij->nij", taps[rows], sources)
            blur = (box @ box @ box)[:, None]
            pixels = (images[rows].float() @ blur.mT).round()
            images[rows] = (blur @ pixels).round().to(torch.uint8)


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
