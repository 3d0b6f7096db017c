"""Pillow's antialiased resize of a box of each image of a stack, of whatever size the boxes are."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from trainer.augmentation.stacks import pieces, to_device

Resampling = Image.Resampling
SUPPORT = {Resampling.BILINEAR: 1, Resampling.BICUBIC: 2}  # distance in pixels from which a weight is 0


def resize_boxes(images: Tensor, boxes: Tensor, size: int, resample: Resampling) -> Tensor:
    """`resize_box` of each image, within one grey level.

    On a CPU torch's own resize goes image by image; elsewhere all go at once, as two products with matrices.

    Args:
        images: (n, C, H, W) uint8, or float32 of 0 to 255.
        boxes: (n, 4) or, for all the same, (1, 4) on the CPU: top, left, height and width in whole pixels.
        size: S.
        resample: BILINEAR or BICUBIC.

    Returns:
        (n, C, S, S) on the device of the images, of the same type.
    """
    result = images.new_empty(len(images), images.shape[1], size, size)
    boxes = boxes.expand(len(images), -1)
    for part in pieces(images if images.shape[2] * images.shape[3] > size**2 else result):
        one_by_one = images.device.type == "cpu"
        result[part] = (_one_by_one if one_by_one else by_matrices)(images[part], boxes[part], size, resample)
    return result


def resize_box(picture: Image.Image, box: tuple[int, int, int, int], size: int, resample: Resampling) -> Image.Image:
    """`picture` cut to a box (top, left, height, width) and resized to a square by Pillow.

    Across first, then down: Pillow from 13 on chooses by the size, those before go across first.
    """
    top, left, height, width = box
    cut = picture.crop((left, top, left + width, top + height))
    return cut.resize((size, height), resample).resize((size, size), resample)


def _one_by_one(images: Tensor, boxes: Tensor, size: int, resample: Resampling) -> Tensor:
    images = images.contiguous(memory_format=torch.channels_last)  # twice as fast
    cuts = (
        images[row : row + 1, :, top : top + height, left : left + width]
        for row, (top, left, height, width) in enumerate(boxes.int().tolist())
    )
    mode = resample.name.lower()
    result = torch.cat([F.interpolate(cut, (size, size), mode=mode, antialias=True) for cut in cuts])
    return result.clamp_(0, 255) if result.is_floating_point() else result


def by_matrices(images: Tensor, boxes: Tensor, size: int, resample: Resampling) -> Tensor:
    """`resize_boxes` of as many images as fit, by batched matrix products; for devices that are good at these."""
    height, width = images.shape[2:]
    down = _weights(boxes[:, 0], boxes[:, 2], size, height, resample, images.device)
    across = _weights(boxes[:, 1], boxes[:, 3], size, width, resample, images.device)
    pixels = torch.einsum("nchw,nsw->nchs", images.float(), across)
    if images.dtype == torch.uint8:  # whole numbers in between, as in Pillow
        pixels = _whole(pixels)
    result = torch.einsum("nchs,nth->ncts", pixels, down)
    return _whole(result).to(torch.uint8) if images.dtype == torch.uint8 else result.clamp_(0, 255)


def _whole(pixels: Tensor) -> Tensor:
    return pixels.add_(0.5).floor_().clamp_(0, 255)


def _weights(
    starts: Tensor, lengths: Tensor, size: int, extent: int, resample: Resampling, device: torch.device
) -> Tensor:
    """How much of each of `extent` pixels of a row is in each of `size` pixels of the result: (n, size, extent).

    Distances are counted in halves of a pixel of the result over pixels of the source: whole numbers, and exact.
    """
    support = SUPPORT[resample]
    most = int(torch.cat([lengths, torch.tensor([size])]).max())  # known on the host
    taps = math.ceil(2 * support * most / size) + 1
    starts, lengths = to_device(torch.stack([starts, lengths]).float(), device).view(2, -1, 1, 1)
    centres = (2 * torch.arange(size, device=device).view(-1, 1) + 1) * lengths
    unit = 2 * lengths.clamp(min=size)
    first = ((centres - support * unit) / (2 * size) + 0.5).floor()
    places = first + torch.arange(taps, device=device)
    weights = _kernel(((2 * places + 1) * size - centres).abs_().div_(unit), resample)
    weights.mul_((places >= 0) & (places < lengths))
    weights.div_(weights.sum(2, keepdim=True))
    columns = (starts + places).clamp_(0, extent - 1).long()
    return torch.zeros(len(weights), size, extent, device=device).scatter_add_(2, columns, weights)


def _kernel(distances: Tensor, resample: Resampling) -> Tensor:
    if resample == Resampling.BILINEAR:
        return (1 - distances).clamp_(min=0)
    near = (1.5 * distances - 2.5) * distances**2 + 1
    far = ((-0.5 * distances + 2.5) * distances - 4) * distances + 2
    return torch.where(distances < 1, near, far * (distances < 2))
