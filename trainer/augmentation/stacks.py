"""Stacks of images on a device, worked on in pieces and in groups that were drawn on the host."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

CHUNK = 2048  # images worked on at once; a float copy of so many takes 25 MB at 32 pixels


def to_device(table: Tensor, device: torch.device) -> Tensor:
    """A table on the device; from pageable memory the copy would wait for the work that is queued there."""
    return (table.pin_memory() if device.type == "cuda" else table).to(device, non_blocking=True)


def chunks(count: int) -> Iterator[slice]:
    """The rows 0 .. count - 1, at most CHUNK of them at once."""
    return (slice(start, start + CHUNK) for start in range(0, count, CHUNK))


def grouped(groups: Tensor, device: torch.device) -> Iterator[tuple[int, Tensor]]:
    """The rows of each group, on the device and at most CHUNK of them at once.

    Args:
        groups: (N,) group of each row, integers from 0 or booleans, on the CPU.

    Yields:
        A group and row numbers of it; a large group comes in pieces.
    """
    groups = groups.long()
    counts = groups.bincount().tolist()
    order = to_device(groups.argsort(stable=True), device)
    for group, rows in enumerate(order.split(counts)):
        yield from ((group, piece) for piece in rows.split(CHUNK) if len(piece))
