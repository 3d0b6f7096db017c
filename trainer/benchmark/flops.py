"""Floating-point operations of a step, and how many a device can do."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch.utils.flop_counter import FlopCounterMode

from trainer.benchmark.entry import Entry

REPEATS = 20


def flops_of_step(entry: Entry) -> int:
    """Operations of matrix products and convolutions in an optimiser step, of student and teacher; a multiplication
    and an addition are two. PaCo's head and contrast are left out. Nothing is computed.
    """
    case, shape = entry.case, (entry.batch_size, 3, entry.case.image_size, entry.case.image_size)
    with torch.device("meta"):
        images = torch.empty(shape)
        if case.student is not None:
            args = entry.arguments()
            student = entry.student(args) if entry.ours else entry.timm_student(args)
            return trained_flops(student, images) + flops_of(entry.network().eval(), images)
        model, passes = entry.network(), 2 if case.training.get("sam_rho") else 1
        keys = flops_of(model, images) if case.training.get("loss") == "paco" else 0
        return passes * trained_flops(model, images) + keys


def flops_of(model: Callable, images: torch.Tensor) -> int:
    """Operations of a forward pass."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(images)
    return counter.get_total_flops()


def trained_flops(model: Callable, images: torch.Tensor) -> int:
    """Operations of a forward and a backward pass of a network in training mode."""
    with FlopCounterMode(display=False) as counter:
        output = model(images)
        if not isinstance(output, torch.Tensor):  # timm's students give a tuple, ours a mapping
            output = sum(part.sum() for part in (output.values() if isinstance(output, dict) else output))
        output.sum().backward()
    return counter.get_total_flops()


def matmul_ceiling(
    device: torch.device, sizes: Sequence[int] = (4096, 6144, 8192), dtype: torch.dtype = torch.bfloat16
) -> float:
    """Operations a second of square matrix products, of the size that is fastest.

    Args:
        device: a GPU, or a CPU with small sizes.
        sizes: of the matrices.
        dtype: of their numbers.
    """
    return max(2 * size**3 / _seconds_of_product(device, size, dtype) for size in sizes)


def _seconds_of_product(device: torch.device, size: int, dtype: torch.dtype) -> float:
    left, right = torch.randn(2, size, size, device=device, dtype=dtype)
    product = torch.empty_like(left)

    def seconds() -> float:
        start = time.perf_counter()
        for _ in range(REPEATS):
            torch.mm(left, right, out=product)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return (time.perf_counter() - start) / REPEATS

    seconds()  # the first ones choose an algorithm
    return min(seconds() for _ in range(3))
