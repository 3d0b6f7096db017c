"""Sharpness-aware minimisation: the ascent step between the two passes of a training step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def ascended(parameters: Iterable[nn.Parameter], rho: float) -> Iterator[None]:
    """Move the weights to `w + rho * g / ||g||` for the length of a block, g their gradients, which are then cleared.

    SAM, Foret et al., ICLR 2021 (arXiv 2010.01412), equation 2: a gradient taken inside the block is the one that SAM
    descends along from the old weights, which are back, bit by bit, when the block ends. g is one gradient over all
    weights and, as they stand when the block begins, over all images of the optimiser step: call it once accumulation
    and ranks have been summed up. The scale of g cancels, so a scaled one (fp16) serves as it is; where it overflowed
    nothing is moved and the scaler finds the same overflow after the second pass.

    Args:
        parameters: weights; those without a gradient stay as they are.
        rho: radius of the ascent step in the L2 norm, above 0.
    """
    moved = [p for p in parameters if p.grad is not None]
    weights = [p.detach() for p in moved]
    before = [w.clone() for w in weights]
    with torch.no_grad():
        gradient = torch.cat([p.grad.flatten() for p in moved])
        norm = torch.linalg.vector_norm(gradient)
        step = torch.where(torch.isfinite(norm), rho / (norm + 1e-12) * gradient, 0)
        steps = step.split([w.numel() for w in weights])
        torch._foreach_add_(weights, [s.view(w.shape) for s, w in zip(steps, weights, strict=True)])
    for p in moved:
        p.grad = None
    try:
        yield
    finally:
        torch._foreach_copy_(weights, before)
