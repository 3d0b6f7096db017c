"""AutoAugment's CIFAR-10 policy as PaCo's authors apply it, to one image by Pillow and to stacks on their device.

The policy is that of Cubuk et al., CVPR 2019 (arXiv 1805.09501), and torchvision's. What its operations do differs
between implementations; this is the one that PaCo (Cui et al., ICCV 2021) was trained with: bare places are grey, not
black, shears are bicubic, shifts are by fractions of a pixel, and rotations have one direction.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor
from torchvision.transforms import AutoAugment as TorchvisionAutoAugment
from torchvision.transforms import AutoAugmentPolicy
from torchvision.transforms.v2 import functional as tv

from trainer.augmentation.colours import adjust_sharpness
from trainer.augmentation.stacks import Draws, grouped, to_device

GREY = 128  # where an operation leaves no image
# 25 pairs of (operation, probability, level of 0 to 9 or None)
POLICIES = TorchvisionAutoAugment(AutoAugmentPolicy.CIFAR10).policies
SIGNED = ("ShearY", "TranslateX", "TranslateY", "Brightness", "Color", "Contrast", "Sharpness")
GEOMETRIC = ("ShearY", "TranslateX", "TranslateY", "Rotate")


class AutoAugment:
    """One of the 25 pairs of operations on an RGB PIL image, each with its own probability; draws from torch."""

    def __call__(self, image: Image.Image) -> Image.Image:
        for name, probability, level in POLICIES[int(torch.randint(len(POLICIES), ()))]:
            if torch.rand(()) < probability:
                image = apply_to_image(image, name, level or 0, sign=1 - 2 * int(torch.randint(2, ())))
        return image


def apply_to_image(image: Image.Image, name: str, level: int, sign: int = 1) -> Image.Image:
    """An operation of AutoAugment on a PIL image.

    Args:
        image: RGB, for the geometric operations any mode that can be filled.
        name: of the operation, as in `POLICIES`.
        level: 0 to 9, its strength.
        sign: 1 or -1, its direction; without meaning for operations that are not `SIGNED`.
    """
    if name in GEOMETRIC:
        return _move(image, name, level, sign, (GREY,) * 3)
    match name:
        case "Brightness" | "Color" | "Contrast" | "Sharpness":
            return getattr(ImageEnhance, name)(image).enhance(_factor(level, sign))
        case "Posterize":
            return ImageOps.posterize(image, _bits(level))
        case "Solarize":
            return ImageOps.solarize(image, _threshold(level))
        case "AutoContrast" | "Equalize" | "Invert":
            return getattr(ImageOps, name.lower())(image)
    raise ValueError(f"AutoAugment's operation {name!r} is not known here")


def _factor(level: int, sign: int) -> float:
    """What colours, contrast and sharpness are multiplied by."""
    return 1 + 0.9 * sign * level / 9


def _bits(level: int) -> int:
    """What posterize keeps of 8 bits."""
    return 8 - round(4 * level / 9)


def _threshold(level: int) -> float:
    """The value from which solarize inverts."""
    return 256 - 256 * level / 9


def _move(image: Image.Image, name: str, level: int, sign: int, fill) -> Image.Image:
    share, (width, height) = sign * level / 9, image.size
    if name == "Rotate":
        return image.rotate(30 * level / 9, fillcolor=fill)
    # Each pixel (x, y) of the result comes from (a x + b y + c, d x + e y + f).
    source = {
        "ShearY": (1, 0, 0, 0.3 * share, 1, 0),
        "TranslateX": (1, 0, 150 / 331 * share * width, 0, 1, 0),
        "TranslateY": (1, 0, 0, 0, 1, 150 / 331 * share * height),
    }[name]
    smooth = name == "ShearY" and image.mode != "I"
    resample = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
    return image.transform(image.size, Image.Transform.AFFINE, source, resample, fillcolor=fill)


def draw_autoaugment(count: int, generator: torch.Generator) -> Draws:
    """Draw a policy for each image, and whether and in which direction its two operations are done."""
    return {
        "autoaugment_policy": torch.randint(len(POLICIES), (count,), generator=generator),
        "autoaugment_chance": torch.rand(count, 2, generator=generator),
        "autoaugment_minus": torch.randint(2, (count, 2), generator=generator),
    }


def apply_autoaugment(images: Tensor, draws: Draws) -> None:
    """AutoAugment each image of a stack as it was drawn.

    Args:
        images: (n, 3, S, S) uint8 on any device, overwritten.
        draws: n rows of `draw_autoaugment`.
    """
    policies, chances = draws["autoaugment_policy"], draws["autoaugment_chance"]
    for slot in (0, 1):
        steps = [policy[slot] for policy in POLICIES]
        applied = chances[:, slot] < torch.tensor([probability for _, probability, _ in steps])[policies]
        signed = torch.tensor([int(name in SIGNED) for name, _, _ in steps])[policies]
        minus = draws["autoaugment_minus"][:, slot] * signed
        for group, rows in grouped(torch.where(applied, 1 + 2 * policies + minus, 0), images):
            if group:
                name, _, level = steps[(group - 1) // 2]
                images[rows] = apply_to_stack(images[rows], name, level or 0, sign=(1, -1)[(group - 1) % 2])


def apply_to_stack(images: Tensor, name: str, level: int, sign: int = 1) -> Tensor:
    """`apply_to_image` on (n, 3, S, S) uint8 images."""
    if name in GEOMETRIC:
        return _moved(images, name, level, sign)
    match name:
        case "Brightness" | "Contrast":
            return getattr(tv, f"adjust_{name.lower()}")(images, _factor(level, sign))
        case "Sharpness":  # torchvision's waits for the device to be given its kernel
            return adjust_sharpness(images, torch.full((len(images),), _factor(level, sign), device=images.device))
        case "Color":
            return tv.adjust_saturation(images, _factor(level, sign))
        case "Posterize":
            return tv.posterize(images, _bits(level))
        case "Solarize":
            return tv.solarize(images, _threshold(level))
        case "AutoContrast" | "Equalize" | "Invert":
            return getattr(tv, name.lower())(images)
    raise ValueError(f"AutoAugment's operation {name!r} is not known here")


def _moved(images: Tensor, name: str, level: int, sign: int) -> Tensor:
    """A geometric operation by the tables that Pillow itself gives for it."""
    size = images.shape[-1]
    sources = to_device(_sources(name, level, sign, size), images.device)
    bare = sources < 0
    if name == "ShearY":
        shares = to_device(_column_shares(level, sign, size), images.device)
        # Pillow cuts the fraction off; the thousandth is for whole numbers that float32 sums miss from below.
        moved = torch.einsum("nckx,kyx->ncyx", images.float(), shares).add_(1e-3).clamp_(0, 255).to(torch.uint8)
    else:
        moved = images.flatten(2)[:, :, sources.clamp(min=0).flatten()].unflatten(2, (size, size))
    return moved.masked_fill(bare, GREY)


@cache
def _sources(name: str, level: int, sign: int, size: int) -> Tensor:
    """Which pixel each pixel (S, S) of the result is nearest to, as y * S + x; -1 for none."""
    numbers = Image.fromarray(np.arange(size * size, dtype=np.int32).reshape(size, size))
    return torch.from_numpy(np.array(_move(numbers, name, level, sign, -1))).long()


@cache
def _column_shares(level: int, sign: int, size: int) -> Tensor:
    """How much of pixel (k, x) is in pixel (y, x) of a vertical shear, (S, S, S) as [k, y, x]."""
    shares = []
    for k in range(size):
        row = np.zeros((size, size), np.float32)
        row[k] = 1
        shares.append(np.array(_move(Image.fromarray(row), "ShearY", level, sign, 0)))
    return torch.from_numpy(np.stack(shares))
