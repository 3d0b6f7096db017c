"""Where the pixels of an augmented image come from: RandomResizedCrop, resize to a square, padded crop, flip."""

from __future__ import annotations

import math

import torch
from PIL import Image
from torch import Tensor

from trainer.augmentation.resampling import Resampling, resize_box, resize_boxes
from trainer.augmentation.stacks import Draws, pieces, to_device

TRIES = 10
RATIOS = (3 / 4, 4 / 3)  # of width to height


def draw_resized_crops(smallest_area: float, count: int, generator: torch.Generator) -> Draws:
    """Draw crops of images of whatever size, a share of their area between `smallest_area` and 1."""
    low, high = (math.log(ratio) for ratio in RATIOS)
    return {
        "crop_areas": torch.empty(count, TRIES).uniform_(smallest_area, 1, generator=generator),
        "crop_ratios": torch.empty(count, TRIES).uniform_(low, high, generator=generator).exp(),
        "crop_corners": torch.rand(count, 2, generator=generator),  # of the room that is left above and to the left
    }


def boxes_of(draws: Draws, height: int, width: int) -> Tensor:
    """The crops of images of one size as timm and torchvision choose them: of ten tries the first that fits.

    Where none fits, the largest one in the middle that is not too long.

    Args:
        draws: n rows of `draw_resized_crops`.
        height: of the source images in pixels.
        width: likewise.

    Returns:
        (n, 4) whole numbers: top, left, height and width.
    """
    areas, ratios = height * width * draws["crop_areas"].double(), draws["crop_ratios"].double()
    sides = torch.stack([areas / ratios, areas * ratios], dim=2).sqrt_().round_()  # (n, 10, 2)
    whole = torch.tensor([height, width])
    fits = ((sides >= 1) & (sides <= whole)).all(2)
    first = sides[torch.arange(len(sides)), fits.int().argmax(1)]
    middle = torch.tensor([min(height, round(width / RATIOS[0])), min(width, round(height * RATIOS[1]))])
    some = fits.any(1, keepdim=True)
    sides = torch.where(some, first, middle.double())
    corners = torch.where(some, draws["crop_corners"].double() * (whole - sides + 1), (whole - sides) / 2)
    return torch.cat([corners.floor_(), sides], dim=1)


def resized_crops(images: Tensor, draws: Draws, size: int, resample: Resampling) -> Tensor:
    """RandomResizedCrop: (n, C, H, W) to (n, C, size, size)."""
    return resize_boxes(images, boxes_of(draws, *images.shape[2:]), size, resample)


def resized_crop_of_picture(picture: Image.Image, draws: Draws, size: int, resample: Resampling) -> Image.Image:
    """`resized_crops` of one PIL image by Pillow; draws of a single position, without its dimension."""
    one = {name: table[None] for name, table in draws.items() if name.startswith("crop_")}
    return resize_box(picture, boxes_of(one, picture.height, picture.width)[0].int().tolist(), size, resample)


def squares(images: Tensor, size: int) -> Tensor:
    """(n, C, H, W) images resized to (n, C, size, size), bicubic; the images themselves if they are that."""
    height, width = images.shape[2:]
    if height == width == size:
        return images
    return resize_boxes(images, torch.tensor([[0, 0, height, width]]), size, Resampling.BICUBIC)


def square_of_picture(picture: Image.Image, size: int) -> Image.Image:
    """`squares` of one PIL image."""
    return resize_box(picture, (0, 0, picture.height, picture.width), size, Resampling.BICUBIC)


def draw_flips(count: int, generator: torch.Generator) -> Draws:
    """Draw which images are mirrored: half of them."""
    return {"flip": torch.randint(2, (count,), generator=generator).bool()}


def flip(images: Tensor, draws: Draws) -> Tensor:
    """A copy of (n, C, S, S) images in which some are mirrored."""
    size = images.shape[3]
    steps = torch.arange(size)
    columns = to_device(torch.where(draws["flip"].view(-1, 1), steps.flip(0), steps), images.device)
    return images.gather(3, columns.view(-1, 1, 1, size).expand_as(images))


def draw_padded_crops(size: int, count: int, generator: torch.Generator) -> Draws:
    """Draw windows of a picture of `size` pixels with a border of an eighth of it."""
    return {"window": torch.randint(2 * (size // 8) + 1, (count, 2), generator=generator)}


def padded_crops(images: Tensor, draws: Draws, fill: tuple[float, ...]) -> Tensor:
    """Windows (n, C, S, S) of images with a border of `fill`, a value of each channel."""
    channels, size = images.shape[1], images.shape[-1]
    border = size // 8
    tops, lefts = to_device(draws["window"], images.device).unbind(1)
    result = torch.empty_like(images)
    for part in pieces(images):
        padded = images.new_empty(len(images[part]), channels, size + 2 * border, size + 2 * border)
        for channel, colour in enumerate(fill):
            padded[:, channel] = colour
        padded[..., border : border + size, border : border + size] = images[part]
        windows = padded.unfold(2, size, 1).unfold(3, size, 1)  # a view: (n, C, 2p + 1, 2p + 1, S, S)
        result[part] = windows[torch.arange(len(padded), device=images.device), :, tops[part], lefts[part]]
    return result
