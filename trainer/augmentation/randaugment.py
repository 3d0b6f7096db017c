"""RandAugment of stacks of images on their device, each image by operations and magnitudes of its own, as timm's.

It is drawn and applied in two steps. All draws of an epoch are made at once on the host, a row for each position in
the epoch; what an image becomes depends on its row alone. Applying them asks the device for no value.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from trainer.augmentation import colours, warps
from trainer.augmentation.stacks import Draws, pieces, to_device
from trainer.data import RGB, PixelFormat

# Operations that are done together, to images of one run
ROOMS = {
    "nothing": ("None",),
    "table": (
        "Invert",
        "Brightness",
        "Posterize",
        "Solarize",
        "SolarizeAdd",
        "Contrast",
        "AutoContrast",
        "Equalize",
    ),
    "saturation": ("Color",),
    "sharpness": ("Sharpness",),
    "rows": ("ShearX", "TranslateX"),
    "columns": ("ShearY", "TranslateY"),
    "rotation": ("Rotate",),
}
OPERATIONS = tuple(name for names in ROOMS.values() for name in names)
LAYERS = 2
PROBABILITY = 0.5  # that a layer does something
DEVIATION = 0.5  # of the magnitudes
OF_COLOUR = OPERATIONS.index("Color")
STRETCHING = torch.tensor([OPERATIONS.index("AutoContrast"), OPERATIONS.index("Equalize")])


class RandAugmentSettings(NamedTuple):
    """Where timm's configurations differ.

    Attributes:
        magnitude: mean strength, of 10.
        increasing: whether colours, posterize and solarize grow stronger with the magnitude, timm's "inc1".
        bicubic_share: share of the geometric operations that interpolate bicubically; the others do it bilinearly.
    """

    magnitude: float
    increasing: bool
    bicubic_share: float


PAPER = RandAugmentSettings(9, increasing=True, bicubic_share=1.0)  # rand-m9-mstd0.5-inc1, bicubic
PACO = RandAugmentSettings(10, increasing=False, bicubic_share=0.5)  # rand-n2-m10-mstd0.5, any interpolation


class _Draws(NamedTuple):
    """One layer's draws of n images, each (n,) on the CPU."""

    operations: Tensor
    magnitudes: Tensor
    signs: Tensor
    bicubic: Tensor


def draw_randaugment(
    settings: RandAugmentSettings, count: int, generator: torch.Generator, pixels: PixelFormat = RGB
) -> Draws:
    """Draw what happens to each image of an epoch.

    Args:
        settings: `PAPER` or `PACO`.
        count: images of the epoch.
        generator: on the CPU. Every draw comes from it.
        pixels: of the images; "Color" is left out where they have no colours. Default: RGB.

    Returns:
        Tables on the CPU with a row for each image and a column for each layer: "operations", numbers of `OPERATIONS`
        (uint8); "magnitudes" of 0 to 10 (float32); "signs", 1 or -1, for what has two directions (int8); "bicubic"
        (bool).
    """
    shape = (count, LAYERS)
    left_out = 0 if pixels.is_rgb else 1
    operations = torch.randint(1, len(OPERATIONS) - left_out, shape, generator=generator, dtype=torch.uint8)
    operations += (operations >= OF_COLOUR) * left_out
    applied = torch.rand(shape, generator=generator) < PROBABILITY
    magnitudes = settings.magnitude + DEVIATION * torch.randn(shape, generator=generator)
    draws = _Draws(
        operations=operations * applied,
        magnitudes=magnitudes.clamp_(0, 10),
        signs=1 - 2 * torch.randint(2, shape, generator=generator, dtype=torch.int8),
        bicubic=torch.rand(shape, generator=generator) < settings.bicubic_share,
    )
    return draws._asdict()


def apply_randaugment(
    settings: RandAugmentSettings, images: Tensor, draws: Draws, pixels: PixelFormat = RGB
) -> Tensor:
    """Do to each image what was drawn for it.

    Args:
        settings: those of the draws.
        images: (n, C, S, S) uint8, or float32 of 0 to 255, on any device, left as they are.
        draws: n rows of `draw_randaugment`'s tables, those of these images.
        pixels: of the images, whose mean fills what a move leaves bare. Default: RGB.

    Returns:
        (n, C, S, S) on the same device, of the same type.
    """
    results, fill = [], pixels.mean_levels
    for piece in pieces(images):
        result = images[piece]
        for layer in range(LAYERS):
            result = _layer(settings, result, _Draws(*(draws[name][piece, layer] for name in _Draws._fields)), fill)
        results.append(result)
    return torch.cat(results) if results else images.clone()


def _layer(settings: RandAugmentSettings, images: Tensor, draws: _Draws, fill: tuple[float, ...]) -> Tensor:
    """Sort the images by their operations, do each room's to a run of them, and put them back in order."""
    order = draws.operations.argsort(stable=True)
    draws = _Draws(*(table[order] for table in draws))
    images = images.index_select(0, to_device(order, images.device))
    counts = draws.operations.long().bincount(minlength=len(OPERATIONS)).tolist()
    results, start = [], 0
    for room, names in ROOMS.items():
        stop = start + sum(counts[OPERATIONS.index(name)] for name in names)
        if start < stop:
            part = _Draws(*(table[start:stop] for table in draws))
            results.append(_in_room(room, settings, images[start:stop], part, fill))
        start = stop
    return torch.cat(results).index_select(0, to_device(order.argsort(), images.device))


def _in_room(
    room: str, settings: RandAugmentSettings, images: Tensor, draws: _Draws, fill: tuple[float, ...]
) -> Tensor:
    match room:
        case "nothing":
            return images
        case "table":
            if images.is_floating_point():  # a table has no steps between two levels
                chosen = to_device(torch.isin(draws.operations, STRETCHING), images.device)
                images = torch.where(chosen.view(-1, 1, 1, 1), colours.stretch(images), images)
            return colours.look_up(images, _tables(settings, images, draws))
        case "saturation":
            return colours.adjust_saturation(images, to_device(_factors(settings, draws), images.device))
        case "sharpness":
            return colours.adjust_sharpness(images, to_device(_factors(settings, draws), images.device))
        case "rows":
            return warps.move_rows(images, _shifts(draws, images.shape[-1]), draws.bicubic, fill)
        case "columns":
            return warps.move_columns(images, _shifts(draws, images.shape[-1]), draws.bicubic, fill)
        case "rotation":
            return warps.rotate(images, 30 * draws.signs * _levels(draws), draws.bicubic, fill)


def _tables(settings: RandAugmentSettings, images: Tensor, draws: _Draws) -> Tensor:
    """The images' tables of values, (n, C, 256) on their device."""
    numbers, counts = draws.operations.unique_consecutive(return_counts=True)
    known, seen = [], []
    start = 0
    for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
        rows = slice(start, start + count)
        name, part = OPERATIONS[number], _Draws(*(table[rows] for table in draws))
        match name:
            case "Contrast":
                factors = to_device(_factors(settings, part), images.device)
                seen.append(colours.contrast_tables(images[rows], factors))
            case "AutoContrast":
                seen.append(colours.autocontrast_tables(images[rows]))
            case "Equalize":
                seen.append(colours.equalize_tables(images[rows]))
            case _:
                known.append(_known_tables(name, settings, part))
        start += count
    if known:
        tables = to_device(torch.cat(known), images.device)
        seen.insert(0, tables.unsqueeze(1).expand(-1, images.shape[1], -1))
    return torch.cat(seen)


def _known_tables(name: str, settings: RandAugmentSettings, draws: _Draws) -> Tensor:
    """Tables that depend on the draws alone, (n, 256)."""
    levels = _levels(draws)
    match name:
        case "Invert":
            return colours.invert_tables(len(levels))
        case "Brightness":
            return colours.brightness_tables(_factors(settings, draws))
        case "Posterize":
            bits = (4 * levels).long()
            return colours.posterize_tables(4 - bits if settings.increasing else bits)
        case "Solarize":
            thresholds = (256 * levels).long()
            return colours.solarize_tables(256 - thresholds if settings.increasing else thresholds)
        case "SolarizeAdd":
            return colours.solarize_add_tables((110 * levels).long())


# What timm makes of magnitudes


def _levels(draws: _Draws) -> Tensor:
    return draws.magnitudes.double() / 10


def _factors(settings: RandAugmentSettings, draws: _Draws) -> Tensor:
    """By how much brightness, contrast, saturation and sharpness are multiplied, (n,) float32."""
    levels = _levels(draws)
    factors = (1 + 0.9 * draws.signs * levels).clamp(min=0.1) if settings.increasing else 1.8 * levels + 0.1
    return factors.float()


def _shifts(draws: _Draws, size: int) -> Tensor:
    """By how much a shear or a shift moves each row or column, (n, S) float64."""
    number = torch.tensor([OPERATIONS.index("TranslateX"), OPERATIONS.index("TranslateY")])
    shifted = torch.isin(draws.operations, number)
    levels = (draws.signs * _levels(draws)).view(-1, 1)
    places = torch.arange(size, dtype=torch.float64) + 0.5
    return torch.where(shifted.view(-1, 1), 0.45 * levels * size, 0.3 * levels * places)
