"""The training transforms of `transforms.py` for stacks of images, on the device where the images are.

What happens to an image is drawn on the host beforehand, all positions of an epoch at once, in the distribution of the
transform of one image; applying it draws nothing and asks the device for no value. An image's result depends on
its own row of the draws alone, so batches may be cut in any way.

Images are (n, C, H, W): uint8, or float32 from 0 to 255 where they have more than 8 bits. What needs colours is left
out of a transform where images have none (`steps_of_colour`).

The steps: `draw` an epoch; `frame` images to squares of the training size, or `frame_picture` them one by one in
workers; `augment` these; after normalisation, `erase`.
"""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

from trainer.augmentation.affine import affine, draw_affine
from trainer.augmentation.autoaugment import apply_autoaugment, draw_autoaugment
from trainer.augmentation.blur import blur_some, draw_blurs
from trainer.augmentation.crops import (
    draw_flips,
    draw_padded_crops,
    draw_resized_crops,
    flip,
    padded_crops,
    resized_crop_of_picture,
    resized_crops,
    square_of_picture,
    squares,
)
from trainer.augmentation.erasing import cutout, draw_cutout, draw_erasing
from trainer.augmentation.jitter import draw_greys, draw_jitter, grey_some, jitter
from trainer.augmentation.randaugment import PACO, PAPER, apply_randaugment, draw_randaugment
from trainer.augmentation.resampling import Resampling
from trainer.augmentation.stacks import Draws
from trainer.augmentation.transforms import TRAIN_TRANSFORMS, simclr_strength
from trainer.data import RGB, PixelFormat

# Transforms that begin with RandomResizedCrop, and how they interpolate; the others take the whole image.
CROPPED = {
    "paper": Resampling.BICUBIC,
    "resized_crop": Resampling.BILINEAR,
    "randaugment": Resampling.BILINEAR,
    "simclr": Resampling.BILINEAR,
}

JITTERED = ("resized_crop", "randaugment", "simclr")


def steps_of_colour(name: str) -> list[str]:
    """What is left out of a transform for images that are not RGB, in words.

    Raises:
        ValueError: nothing of it makes sense without colours.
    """
    if name == "autoaugment":
        raise ValueError(
            "autoaugment is a policy for colour photographs; for images that are not RGB take crop_flip, paper, "
            "affine or randaugment"
        )
    steps = ["RandAugment's Color"] if name in ("paper", "randaugment") else []
    steps += ["the jitter's saturation and hue"] if name in JITTERED else []
    return [*steps, "the turn to grey"] if name == "simclr" else steps


def draw(name: str, count: int, image_size: int, generator: torch.Generator, pixels: PixelFormat = RGB) -> Draws:
    """Draw what a transform does to each image of an epoch.

    Args:
        name: of `TRAIN_TRANSFORMS`, as `train_transform` describes them.
        count: positions of the epoch. The draws of a position differ with it; so it is always the same for a data set.
        image_size: S, side of the training images in pixels.
        generator: on the CPU. Every draw comes from it.
        pixels: of the images. Default: RGB.

    Returns:
        Tables on the CPU with one row a position; `rows_of` picks rows.

    Raises:
        ValueError: an unknown name, or a transform that is for RGB alone.
    """
    numbers = count, generator
    if not pixels.is_rgb:
        steps_of_colour(name)
    match name:
        case "paper":
            crops = draw_resized_crops(0.08, *numbers) | draw_flips(*numbers)
            return crops | draw_randaugment(PAPER, *numbers, pixels) | draw_erasing(0.25, image_size, *numbers)
        case "crop_flip":
            return draw_padded_crops(image_size, *numbers) | draw_flips(*numbers)
        case "affine":
            return draw_affine(image_size, *numbers)
        case "resized_crop":
            return draw_resized_crops(0.08, *numbers) | draw_flips(*numbers) | draw_jitter(0.0, 1.0, *numbers, pixels)
        case "autoaugment":
            crops = draw_padded_crops(image_size, *numbers) | draw_flips(*numbers)
            return crops | draw_autoaugment(*numbers) | draw_cutout(image_size, *numbers)
        case "randaugment":
            jittered = draw("resized_crop", count, image_size, generator, pixels)
            return jittered | draw_randaugment(PACO, *numbers, pixels)
        case "simclr":
            strength = simclr_strength(image_size)
            crops = draw_resized_crops(strength.smallest_area, *numbers) | draw_flips(*numbers)
            colours = draw_jitter(strength.hue, strength.jitter_probability, *numbers, pixels) | draw_greys(*numbers)
            return crops | colours | draw_blurs(*numbers)
    raise ValueError(f"unknown training transform {name!r}; choose one of {', '.join(TRAIN_TRANSFORMS)}")


def frame(name: str, images: Tensor, draws: Draws, image_size: int) -> Tensor:
    """Bring images of one size to squares: by RandomResizedCrop where the transform begins with it, else as a whole.

    Args:
        name: of the transform.
        images: (n, C, H, W) on any device, left as they are.
        draws: n rows of `draw`'s tables.
        image_size: S.

    Returns:
        (n, C, S, S) on the same device; the images themselves if they are whole and of that size.

    Raises:
        ValueError: images of another type or shape.
    """
    _check(images)
    if name in CROPPED:
        return resized_crops(images, draws, image_size, CROPPED[name])
    return squares(images, image_size)


def frame_picture(name: str, picture: Image.Image | Tensor, draws: Draws, image_size: int) -> Image.Image | Tensor:
    """`frame` one picture of any size: RGB by Pillow, whose pixels are those of `frame` within one grey level.

    Args:
        name: of the transform.
        picture: RGB, or a tensor (C, H, W), of any size.
        draws: one row of `draw`'s tables, without its dimension.
        image_size: S.
    """
    if isinstance(picture, Tensor):
        return frame(name, picture[None], {key: table[None] for key, table in draws.items()}, image_size)[0]
    if name in CROPPED:
        return resized_crop_of_picture(picture, draws, image_size, CROPPED[name])
    return square_of_picture(picture, image_size)


def augment(name: str, images: Tensor, draws: Draws, pixels: PixelFormat = RGB) -> Tensor:
    """What a transform does to framed images, but for normalisation and, in "paper", erasing (`erase`).

    Args:
        name: of the transform.
        images: (n, C, S, S) on any device, left as they are.
        draws: n rows of `draw`'s tables.
        pixels: of the images. Default: RGB.

    Returns:
        (n, C, S, S) on the same device, not normalised.

    Raises:
        ValueError: images of another type or shape.
    """
    _check(images)
    if images.shape[2] != images.shape[3]:
        raise ValueError(f"images must be framed to squares before they are augmented, got {tuple(images.shape)}")
    if images.shape[1] != pixels.channels:
        raise ValueError(f"the images have {images.shape[1]} channels, not {pixels.channels}")
    # Black around RGB as published; around others, of which nobody knows which value is empty, their mean.
    fill = (0,) * pixels.channels if pixels.is_rgb else pixels.mean_levels
    if name == "affine":
        return affine(images, draws, fill)
    result = flip(images if name in CROPPED else padded_crops(images, draws, fill), draws)
    match name:  # each step overwrites the result
        case "paper":
            return apply_randaugment(PAPER, result, draws, pixels)
        case "resized_crop":
            jitter(result, draws)
        case "autoaugment":
            apply_autoaugment(result, draws)
            cutout(result, draws)
        case "randaugment":
            jitter(result, draws)
            return apply_randaugment(PACO, result, draws, pixels)
        case "simclr":
            jitter(result, draws)
            if pixels.is_rgb:
                grey_some(result, draws)
            blur_some(result, draws)
    return result


def _check(images: Tensor) -> None:
    if images.dtype not in (torch.uint8, torch.float32) or images.ndim != 4:
        raise ValueError(f"images must be (n, C, H, W), uint8 or float32, got {tuple(images.shape)} {images.dtype}")
