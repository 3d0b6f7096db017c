"""Compilation of a training's networks by `torch.compile`: whether it pays, and batches of one shape."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec

import torch
from torch import Tensor

from trainer.machine import cpu_has_bf16

LONG = 5000  # batches of a training from which on it saves more than the minute or two that it takes


def compilation_pays(device: torch.device, precision: str, batches: int) -> bool:
    """What `torch_compile: auto` means: a long training on a GPU, or in bf16 on a CPU that has it in hardware.

    Args:
        device: of the training.
        precision: Accelerate's word of it, "no", "bf16" or "fp16".
        batches: how many the training has.
    """
    if batches < LONG or not can_compile(device):
        return False
    return device.type == "cuda" or (precision == "bf16" and cpu_has_bf16())


def can_compile(device: torch.device) -> bool:
    """Whether what torch compiles with is there: Triton for a GPU, a C++ compiler for a CPU."""
    if device.type == "cuda":
        return find_spec("triton") is not None
    return device.type == "cpu" and shutil.which(os.environ.get("CXX", "g++")) is not None


def padded(images: Tensor, size: int) -> Tensor:
    """A batch of `size` images: the given ones, (B, ...), then the first one again; another shape compiles anew."""
    missing = size - len(images)
    return torch.cat([images, images[:1].expand(missing, *images.shape[1:])]) if missing > 0 else images
