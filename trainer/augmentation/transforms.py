"""What happens to one image: the training transforms, drawn from a seed, and the evaluation transform."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from PIL import Image
from timm.data import create_transform
from timm.data.auto_augment import AugmentOp, RandAugment
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torchvision import transforms
from transformers import DeiTImageProcessor

TRAIN_TRANSFORMS = ("paper", "crop_flip", "affine")


def train_transform(name: str, image_size: int) -> transforms.Compose:
    """The training transform: an RGB PIL image in, a normalised (3, image_size, image_size) float tensor out.

    Args:
        name: "paper": RandomResizedCrop (bicubic), flip, RandAugment m9-mstd0.5-inc1, normalise, then erase with
            probability 0.25 (DeiT-LT's student transform; its colour jitter argument has no effect, timm drops it
            beside RandAugment). "crop_flip": random crop with padding of an eighth of the size and flip (He et al.
            2016 for CIFAR; the teachers'). "affine": rotation, shift, scale and shear without a flip, for digits and
            other signs whose mirror image is another sign.
        image_size: side of the result in pixels.

    Raises:
        ValueError: an unknown name.
    """
    to_tensor = [transforms.ToTensor(), transforms.Normalize(IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)]
    bicubic = transforms.InterpolationMode.BICUBIC
    if name == "paper":
        return _safe_posterize(
            create_transform(
                input_size=image_size,
                is_training=True,
                auto_augment="rand-m9-mstd0.5-inc1",
                interpolation="bicubic",
                re_prob=0.25,
                re_mode="pixel",
                re_count=1,
            )
        )
    if name == "crop_flip":
        return transforms.Compose(
            [
                transforms.Resize((image_size, image_size), bicubic),
                transforms.RandomCrop(image_size, padding=image_size // 8),
                transforms.RandomHorizontalFlip(),
                *to_tensor,
            ]
        )
    if name == "affine":
        return transforms.Compose(
            [
                transforms.Resize((image_size, image_size), bicubic),
                transforms.RandomAffine(
                    12,
                    translate=(0.1, 0.1),
                    scale=(0.85, 1.15),
                    shear=8,
                    interpolation=transforms.InterpolationMode.BILINEAR,
                ),
                *to_tensor,
            ]
        )
    raise ValueError(f"unknown training transform {name!r}; choose one of {', '.join(TRAIN_TRANSFORMS)}")


def _safe_posterize(compose: transforms.Compose) -> transforms.Compose:
    """Let RandAugment posterize to 0 bits (a black image, as Pillow < 13 gave), where Pillow 13 raises.

    timm's PosterizeIncreasing reaches 0 bits at magnitude 9 with deviation 0.5 for about one image in 700.
    """
    for op in (op for step in compose.transforms if isinstance(step, RandAugment) for op in step.ops):
        if op.name == "PosterizeIncreasing":
            op.aug_fn = _Posterize(op)
    return compose


class _Posterize:
    def __init__(self, op: AugmentOp):
        self.posterize = op.aug_fn

    def __call__(self, image: Image.Image, bits: int, **kwargs) -> Image.Image:
        return self.posterize(image, bits, **kwargs) if bits > 0 else Image.new(image.mode, image.size)


def image_processor(image_size: int, crop_ratio: float = 0.875) -> DeiTImageProcessor:
    """The evaluation transform, which the model folder ships too, so that a pipeline scores as the trainer does.

    Short side to image_size / crop_ratio (bicubic), centre crop, ImageNet mean and deviation.

    Args:
        image_size: side of the result in pixels.
        crop_ratio: share of the short side that is kept. Default 0.875: 224 of 256, the paper's. 1.0 keeps the whole
            image, for models that were not trained on zoomed crops.
    """
    return DeiTImageProcessor(
        size={"shortest_edge": round(image_size / crop_ratio)},
        resample=Image.Resampling.BICUBIC,
        crop_size={"height": image_size, "width": image_size},
        image_mean=list(IMAGENET_DEFAULT_MEAN),
        image_std=list(IMAGENET_DEFAULT_STD),
    )


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
