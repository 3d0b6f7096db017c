"""Shears, shifts and rotations of stacks of images, each image by an amount of its own, as Pillow does them.

Pillow's `Image.transform` and `Image.rotate`: a pixel of the result comes from one place of the image; there it is
interpolated from the two (bilinear) or four (bicubic, a = -1) nearest pixels of each axis, edge pixels repeated, and
the fraction is cut off, but of float32 images. A place outside the image gives the fill colour.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.augmentation.stacks import to_device

ROUNDING = 2**-12  # of a grey level: what float32 sums of whole numbers may miss, before the fraction is cut off


def move_rows(images: Tensor, shifts: Tensor, bicubic: Tensor, fill: tuple[float, ...]) -> Tensor:
    """Move each row of each image to the left: a shift in x where all rows have one shift, a shear where they differ.

    All places of a row lie equally far between two pixels. So the row is interpolated there once, and then copied from
    where it begins.

    Args:
        images: (n, C, S, S) uint8, or float32 of 0 to 255, on any device.
        shifts: (n, S) float64 on the CPU, by how many pixels row y is moved; between -S and S.
        bicubic: (n,) bool on the CPU, else bilinear.
        fill: (C,) value of each channel where no image is left.

    Returns:
        (n, C, S, S) on the same device, of the same type.
    """
    count, channels, size, _ = images.shape
    whole = shifts.floor()
    parts = shifts - whole
    weights = torch.stack(_weights(parts, bicubic.view(-1, 1))).float().view(4, count, 1, size, 1)
    weights = to_device(weights, images.device)
    padded = F.pad(images.float(), (2, 2, 0, 0), mode="replicate")
    moved = padded.new_full((count, channels, size, size + 1), ROUNDING)
    for start in range(4):  # the pixels from -1 to S - 1 have places to their right that lie in the image
        moved.addcmul_(padded[..., start : start + size + 1], weights[start])
    moved = _finished(moved, images.dtype)
    # Of the first only places in its right half are inside, of the last only those in its left half.
    width = 3 * size + 1
    canvas = images.new_empty(count, channels, size, width)
    right = to_device((parts >= 0.5).unsqueeze(1), images.device)
    for channel, colour in enumerate(fill):
        canvas[:, channel] = colour
        moved[:, channel, :, :1].masked_fill_(~right.mT, colour)
        moved[:, channel, :, -1:].masked_fill_(right.mT, colour)
    canvas[..., size : 2 * size + 1] = moved
    starts = width * torch.arange(count * channels * size).view(count, channels, size)
    starts = starts + (whole.long() + size + 1).unsqueeze(1)
    # From each place the next S pixels
    windows = canvas.view(-1).as_strided((canvas.numel() - size + 1, size), (1, 1))
    return windows.index_select(0, to_device(starts.view(-1), images.device)).view_as(images)


def move_columns(images: Tensor, shifts: Tensor, bicubic: Tensor, fill: tuple[float, ...]) -> Tensor:
    """`move_rows` for columns: each is moved up by its shift."""
    return move_rows(images.mT.contiguous(), shifts, bicubic, fill).mT.contiguous()


def rotate(images: Tensor, degrees: Tensor, bicubic: Tensor, fill: tuple[float, ...]) -> Tensor:
    """Turn each image about its centre, counter-clockwise.

    Args:
        images: (n, C, S, S) uint8, or float32 of 0 to 255, on any device.
        degrees: (n,) float64 on the CPU.
        bicubic: (n,) bool on the CPU, else bilinear.
        fill: (C,) value of each channel where no image is left.

    Returns:
        (n, C, S, S) on the same device, of the same type.
    """
    count, channels, size, _ = images.shape
    places = torch.arange(size, dtype=torch.float64) + 0.5 - size / 2
    turns = degrees.deg2rad().view(-1, 1)
    along, across = turns.cos() * places, turns.sin() * places
    tables = to_device(torch.stack([along + size / 2, across, across, along + size / 2]), images.device)
    x = tables[0].unsqueeze(1) - tables[1].unsqueeze(2)  # (n, S, S): where the pixels come from
    y = tables[2].unsqueeze(1) + tables[3].unsqueeze(2)
    outside = (torch.minimum(x, y) < 0) | (torch.maximum(x, y) >= size)
    columns, rows = (x - 0.5).floor(), (y - 0.5).floor()
    kinds = to_device(bicubic.view(-1, 1, 1, 1), images.device)
    x_weights = _weights((x - columns).sub_(0.5).float().unsqueeze(1), kinds)
    y_weights = _weights((y - rows).sub_(0.5).float().unsqueeze(1), kinds)

    edges = torch.arange(-2, size + 2, device=images.device).clamp(0, size - 1)
    padded = images.index_select(2, edges).index_select(3, edges).flatten(2)
    first = (rows.clamp(-1, size - 1) + 1) * (size + 4) + columns.clamp(-1, size - 1) + 1
    first = first.long().view(count, 1, -1).expand(-1, channels, -1)  # of the 16 pixels around
    moved = torch.full_like(images, ROUNDING, dtype=torch.float32)
    row = torch.empty_like(moved)
    for down in range(4):
        row.zero_()
        for right in range(4):
            pixels = padded[:, :, down * (size + 4) + right :].gather(2, first)
            row.addcmul_(pixels.view_as(images).float(), x_weights[right])
        moved.addcmul_(row, y_weights[down])
    moved = _finished(moved, images.dtype)
    for channel, colour in enumerate(fill):
        moved[:, channel].masked_fill_(outside, colour)
    return moved


def _finished(sums: Tensor, dtype: torch.dtype) -> Tensor:
    """Interpolated values as an image of a type; of whole numbers the fraction is cut off."""
    sums.clamp_(0, 255)
    return sums.short().to(dtype) if dtype == torch.uint8 else sums  # from floats at once takes a CPU longer


def _weights(parts: Tensor, bicubic: Tensor) -> list[Tensor]:
    """What the pixel before, the pixel, and the next two count, so far (0 to 1) to the right of the pixel."""
    rest = 1 - parts
    bends = bicubic * parts * rest  # what bicubic interpolation takes from the outer pixels
    before, after = -bends * rest, -bends * parts
    return [before, rest - before, parts - after, after]
