"""torchvision's RandomAffine as "affine" sets it, each image of a stack by a matrix of its own, as Pillow does it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.augmentation.stacks import Draws, pieces, to_device
from trainer.augmentation.transforms import AFFINE


def draw_affine(size: int, count: int, generator: torch.Generator) -> Draws:
    """Draw rotation, shift in whole pixels, scale and shear of images of `size` pixels.

    Returns:
        `affine`: (count, 2, 3), where each pixel of the result comes from: (x, y) from the middle, and 1, to (x, y).
    """
    degrees, shear, (across, down) = AFFINE["degrees"], AFFINE["shear"], AFFINE["translate"]
    angles = torch.empty(count).uniform_(-degrees, degrees, generator=generator)
    shifts = torch.empty(count, 2).uniform_(-size, size, generator=generator)
    shifts = (shifts * torch.tensor([across, down])).round_()
    scales = torch.empty(count).uniform_(*AFFINE["scale"], generator=generator)
    shears = torch.empty(count).uniform_(-shear, shear, generator=generator)
    return {"affine": _inverses(angles, shifts, scales, shears).float()}


def _inverses(angles: Tensor, shifts: Tensor, scales: Tensor, shears: Tensor) -> Tensor:
    """What undoes shear, rotation and scale about the middle and then the shift; angles (n,) in degrees."""
    angles, shears = angles.double().deg2rad(), shears.double().deg2rad()
    cosines, sines, zeros = angles.cos(), angles.sin(), torch.zeros_like(angles)
    turned = torch.stack([cosines, -sines, sines, cosines], dim=1).view(-1, 2, 2)
    # torchvision shears after turning: a shear of x by -tan(shear) times y.
    sheared = torch.stack([zeros + 1, -shears.tan(), zeros, zeros + 1], dim=1).view(-1, 2, 2)
    inverses = (scales.double().view(-1, 1, 1) * (turned @ sheared)).inverse()
    return torch.cat([inverses, -inverses @ shifts.double().unsqueeze(2)], dim=2)


def affine(images: Tensor, draws: Draws, fill: tuple[float, ...]) -> Tensor:
    """Warped copies of (n, C, S, S) images, bilinear, with `fill`, a value of each channel, where nothing was."""
    size = images.shape[-1]
    # In -1 to 1 across the image, which is what grid_sample counts in.
    matrices = to_device(draws["affine"] * (2 / size), images.device).view(-1, 2, 3, 1, 1).unbind(2)
    steps = torch.arange(size, device=images.device) + 0.5 - size / 2
    result = torch.empty_like(images)
    for part in pieces(images):
        by_x, by_y, shift = (column[part] for column in matrices)
        grid = (by_x * steps + shift) + by_y * steps.view(-1, 1)  # (n, 2, S, S)
        outside = ((grid < -1) | (grid >= 1)).any(1)
        sources = grid.permute(0, 2, 3, 1)
        pixels = F.grid_sample(images[part].float(), sources, padding_mode="border", align_corners=False)
        # Pillow cuts the fraction off; the thousandth is for whole numbers that float32 sums miss from below.
        result[part] = pixels.add_(1e-3).clamp_(0, 255).to(images.dtype)
        for channel, colour in enumerate(fill):
            result[part, channel].masked_fill_(outside, colour)
    return result
