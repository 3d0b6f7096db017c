"""Stand-in for RandAugment on stacks, until the real one takes this file's place: it draws and does nothing."""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.augmentation.stacks import Draws

PAPER, PACO = "rand-m9-mstd0.5-inc1", "rand-n2-m10-mstd0.5"


def draw_randaugment(settings: str, count: int, generator: torch.Generator) -> Draws:
    """Nothing yet."""
    return {}


def apply_randaugment(settings: str, images: Tensor, draws: Draws) -> Tensor:
    """The images as they are, for now."""
    return images
