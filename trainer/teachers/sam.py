"""Sharpness-aware minimisation: the ascent step between the two passes of a training step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def ascended(parameters: Iterable[nn.Parameter], rho: float) -> Iterator[None]:
    """Move the weights to `w + rho * g / ||g||` for the length of a block, g their gradients, which are then cleared.

    SAM, Foret et al., ICLR 2021 (arXiv 2010.01412), equation 2: a gradient taken inside the block is the one that SAM
    descends along from the old weights, which are back, bit by bit, when the block ends. g is one gradient over all
    weights and, as they stand when the block begins, over all images of the optimiser step: call it once accumulation
    and ranks have been summed up. The scale of g cancels, so a scaled one (fp16) serves as it is; where it overflowed
    nothing is moved and the scaler finds the same overflow after the second pass.

    All weights are handled as one vector, so that the number of launched kernels hardly grows with the depth.

    Args:
        parameters: weights; those without a gradient stay as they are.
        rho: radius of the ascent step in the L2 norm, above 0.
    """
    moved = [p for p in parameters if p.grad is not None]
    weights = [_channels_last(p.detach()) for p in moved]

    def parts(vector: Tensor) -> list[Tensor]:
        pieces = vector.split([w.numel() for w in weights])
        return [piece.view(w.shape) for piece, w in zip(pieces, weights, strict=True)]

    with torch.no_grad():
        before = torch.cat([w.flatten() for w in weights])
        gradient = torch.cat([_channels_last(p.grad).flatten() for p in moved])
        norm = torch.linalg.vector_norm(gradient)
        step = torch.where(torch.isfinite(norm), rho / (norm + 1e-12) * gradient, 0)
        torch._foreach_add_(weights, parts(step))
    for p in moved:
        p.grad = None
    try:
        yield
    finally:
        torch._foreach_copy_(weights, parts(before))


def _channels_last(tensor: Tensor) -> Tensor:
    """Convolutions' weights with their channels last, as they lie in memory: flattening those copies nothing."""
    return tensor.permute(0, 2, 3, 1) if tensor.ndim == 4 else tensor
