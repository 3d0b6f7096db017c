"""Transforms of one image: the training transforms, drawn from a seed, and the evaluation transform."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageFilter
from timm.data import create_transform
from timm.data.auto_augment import AugmentOp, RandAugment, rand_augment_transform
from torchvision import transforms
from transformers import BaseImageProcessor, DeiTImageProcessor

from modeling_deit_lt import DeiTLTImageProcessor
from trainer.augmentation.autoaugment import AutoAugment
from trainer.data import RGB, PixelFormat

TRAIN_TRANSFORMS = ("paper", "crop_flip", "affine", "resized_crop", "autoaugment", "randaugment", "simclr")
AFFINE = {"degrees": 12, "translate": (0.1, 0.1), "scale": (0.85, 1.15), "shear": 8}  # of the transform of that name


def train_transform(name: str, image_size: int, pixels: PixelFormat = RGB) -> transforms.Compose:
    """The training transform: an RGB PIL image in, a normalised (3, image_size, image_size) float tensor out.

    Args:
        name: for students, "paper": RandomResizedCrop (bicubic), flip, RandAugment m9-mstd0.5-inc1, normalise, then
            erase with probability 0.25 (DeiT-LT's student transform; its colour jitter argument has no effect, timm
            drops it beside RandAugment). "affine": rotation, shift, scale and shear without a flip, for digits and
            other signs whose mirror image is another sign.
            For teachers, "crop_flip": random crop with padding of an eighth of the size and flip (He et al. 2016 for
            CIFAR). "resized_crop": RandomResizedCrop, flip, colour jitter 0.4 (ImageNet-LT and iNaturalist).
            For PaCo's first view (Cui et al. 2021), "autoaugment": crop_flip, AutoAugment's CIFAR-10 policy (see
            `AutoAugment`), then a black square of half the side; "randaugment", for large images: resized_crop,
            RandAugment n2-m10-mstd0.5. For its second view, "simclr": RandomResizedCrop, flip, colour jitter, grey,
            blur (Chen et al. 2020).
        image_size: side of the result in pixels.
        pixels: of the images, which are RGB. Default: with ImageNet's mean and deviation.

    Raises:
        ValueError: an unknown name.
    """
    if name not in TRAIN_TRANSFORMS:
        raise ValueError(f"unknown training transform {name!r}; choose one of {', '.join(TRAIN_TRANSFORMS)}")
    if name == "paper":
        return _safe_posterize(_paper(image_size, pixels))
    if name == "autoaugment":
        normalize = transforms.Normalize(pixels.mean, pixels.std)
        to_pixels = [transforms.ToTensor(), _Cutout(image_size // 2), normalize]
    else:
        to_pixels = [_NormalizedTensor(pixels)]
    return _safe_posterize(transforms.Compose([*_picture_steps(name, image_size, pixels), *to_pixels]))


def _paper(image_size: int, pixels: PixelFormat) -> transforms.Compose:
    return create_transform(
        input_size=image_size,
        is_training=True,
        auto_augment="rand-m9-mstd0.5-inc1",
        interpolation="bicubic",
        re_prob=0.25,
        re_mode="pixel",
        re_count=1,
        mean=pixels.mean,
        std=pixels.std,
    )


def _picture_steps(name: str, image_size: int, pixels: PixelFormat) -> list:
    """What a transform does before its image becomes a tensor."""
    square = transforms.Resize((image_size, image_size), transforms.InterpolationMode.BICUBIC)
    flip = transforms.RandomHorizontalFlip()
    crop_flip = [square, transforms.RandomCrop(image_size, padding=image_size // 8), flip]
    resized_crop = [transforms.RandomResizedCrop(image_size), flip, transforms.ColorJitter(0.4, 0.4, 0.4, 0)]
    match name:
        case "crop_flip":
            return crop_flip
        case "affine":
            bilinear = transforms.InterpolationMode.BILINEAR
            return [square, transforms.RandomAffine(**AFFINE, interpolation=bilinear)]
        case "resized_crop":
            return resized_crop
        case "autoaugment":
            return [*crop_flip, AutoAugment()]
        case "randaugment":
            settings = {"translate_const": int(0.45 * image_size), "img_mean": pixels.mean_levels}
            return [*resized_crop, rand_augment_transform("rand-n2-m10-mstd0.5", settings)]
        case "simclr":
            strength = simclr_strength(image_size)
            return [
                transforms.RandomResizedCrop(image_size, scale=(strength.smallest_area, 1)),
                flip,
                transforms.RandomApply(
                    [transforms.ColorJitter(0.4, 0.4, 0.4, strength.hue)], p=strength.jitter_probability
                ),
                transforms.RandomGrayscale(p=0.2),
                transforms.RandomApply([_GaussianBlur(0.1, 2.0)], p=0.5),
            ]


class _NormalizedTensor:
    """torchvision's ToTensor and Normalize in one: their checks take longer than the pixels of a small image."""

    def __init__(self, pixels: PixelFormat):
        self.mean, self.std = torch.tensor(pixels.mean).view(3, 1, 1), torch.tensor(pixels.std).view(3, 1, 1)

    def __call__(self, image: Image.Image) -> torch.Tensor:
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
        return pixels.to(torch.float32).div_(255).sub_(self.mean).div_(self.std)


class SimclrStrength(NamedTuple):
    """What differs in "simclr" between PaCo's CIFAR and ImageNet code.

    Attributes:
        smallest_area: smallest share of an image that is cropped.
        hue: largest turn of the hue, in turns.
        jitter_probability: share of the images whose colours are jittered.
    """

    smallest_area: float
    hue: float
    jitter_probability: float


def simclr_strength(image_size: int) -> SimclrStrength:
    """CIFAR's up to 64 pixels, ImageNet's above."""
    return SimclrStrength(0.2, 0.1, 0.8) if image_size <= 64 else SimclrStrength(0.08, 0.0, 1.0)


class _Cutout:
    """Blacken a square whose centre is any pixel, as far as it lies inside (DeVries and Taylor 2017)."""

    def __init__(self, side: int):
        self.side = side

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        top, left = (int(torch.randint(size, ())) - self.side // 2 for size in image.shape[1:])
        image[:, max(top, 0) : top + self.side, max(left, 0) : left + self.side] = 0
        return image


class _GaussianBlur:
    """Blur by Pillow, ten times as fast on a large image as torchvision's; sigma is uniform, in pixels."""

    def __init__(self, smallest: float, largest: float):
        self.smallest, self.largest = smallest, largest

    def __call__(self, image: Image.Image) -> Image.Image:
        return image.filter(ImageFilter.GaussianBlur(random.uniform(self.smallest, self.largest)))


def _safe_posterize(compose: transforms.Compose) -> transforms.Compose:
    """Let RandAugment posterize to 0 bits (a black image, as Pillow < 13 gave), where Pillow 13 raises.

    timm's PosterizeIncreasing reaches 0 bits at magnitude 9 with deviation 0.5 for about one image in 700; its
    Posterize, only at magnitudes below 2.5.
    """
    for op in (op for step in compose.transforms if isinstance(step, RandAugment) for op in step.ops):
        if op.name in ("Posterize", "PosterizeIncreasing"):
            op.aug_fn = _Posterize(op)
    return compose


class _Posterize:
    def __init__(self, op: AugmentOp):
        self.posterize = op.aug_fn

    def __call__(self, image: Image.Image, bits: int, **kwargs) -> Image.Image:
        return self.posterize(image, bits, **kwargs) if bits > 0 else Image.new(image.mode, image.size)


def image_processor(image_size: int, crop_ratio: float = 0.875, pixels: PixelFormat = RGB) -> BaseImageProcessor:
    """The evaluation transform, which the model folder ships too, so that a pipeline scores as the trainer does.

    Short side to image_size / crop_ratio (bicubic), centre crop, mean and deviation.

    Args:
        image_size: side of the result in pixels.
        crop_ratio: share of the short side that is kept. Default 0.875: 224 of 256, the paper's. 1.0 keeps the whole
            image, for models that were not trained on zoomed crops.
        pixels: of the images. Default: RGB with ImageNet's mean and deviation.
    """
    settings = {
        "size": {"shortest_edge": round(image_size / crop_ratio)},
        "crop_size": {"height": image_size, "width": image_size},
        "image_mean": list(pixels.mean),
        "image_std": list(pixels.std),
    }
    if pixels.is_rgb:
        return DeiTImageProcessor(resample=Image.Resampling.BICUBIC, **settings)
    return DeiTLTImageProcessor(pixels.channels, pixels.bits, **settings)


@contextmanager
def seeded(*seed: int) -> Iterator[None]:
    """Run a block with Python's, numpy's and torch's CPU generators seeded by these numbers, and put them back after.

    The transforms draw from all three, so each draw becomes a function of the seed alone and dropout's running
    generator never notices.

    Args:
        seed: non-negative integers, hashed together; (1, 2) and (2, 1) differ.
    """
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        reseed(*seed)
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def reseed(*seed: int) -> None:
    """Seed the three generators by a hash of these numbers. Only inside `seeded`, which puts them back."""
    words = np.random.SeedSequence(seed).generate_state(3)
    random.seed(int(words[0]))
    np.random.seed(words[1])
    torch.default_generator.manual_seed(int(words[2]))


def hashed(*numbers: int) -> int:
    """A seed for one generator: a hash of non-negative integers.

    (1, 2) and (2, 1) differ; zeros at the end count for nothing, so (1, 2, 0) is (1, 2).
    """
    words = np.random.SeedSequence(numbers).generate_state(2)
    return int(words[0]) << 31 ^ int(words[1])
