"""Stacks of images on a device, worked on in pieces and in groups that were drawn on the host."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

PIECE = 2**24  # bytes of images worked on at once, counted in float32; steps keep several such copies

Draws = dict[str, Tensor]  # what was drawn for each position of an epoch: tables on the CPU, one row a position


def rows_of(draws: Draws, positions: Sequence[int] | Tensor) -> Draws:
    """The rows of some positions, in their order."""
    positions = torch.as_tensor(positions, dtype=torch.long)
    return {name: table[positions] for name, table in draws.items()}


def to_device(table: Tensor, device: torch.device) -> Tensor:
    """A table on the device; from pageable memory the copy would wait for the work that is queued there."""
    return (table.pin_memory() if device.type == "cuda" else table).to(device, non_blocking=True)


def pieces(images: Tensor) -> Iterator[slice]:
    """The rows of a stack, so many of them at once that a float copy of them fits PIECE bytes."""
    step = _rows_at_once(images)
    return (slice(start, start + step) for start in range(0, len(images), step))


def grouped(groups: Tensor, images: Tensor) -> Iterator[tuple[int, Tensor]]:
    """The rows of each group, as many of them at once as `pieces` gives.

    Args:
        groups: (N,) group of each image, integers from 0 or booleans, on the CPU.
        images: (N, ...) the stack that is worked on.

    Yields:
        A group and row numbers of it, on the device of the images; a large group comes in pieces.
    """
    groups = groups.long()
    counts = groups.bincount().tolist()
    order, step = to_device(groups.argsort(stable=True), images.device), _rows_at_once(images)
    for group, rows in enumerate(order.split(counts)):
        yield from ((group, piece) for piece in rows.split(step) if len(piece))


def _rows_at_once(images: Tensor) -> int:
    return max(1, PIECE // (4 * max(1, images[:1].numel())))
