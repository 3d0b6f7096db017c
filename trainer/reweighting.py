"""Class weights for deferred re-weighting (DRW): DeiT-LT, CVPR 2024, arXiv 2404.02900, section 3.2."""

from __future__ import annotations

import torch
from timm.loss import compute_class_weights


def effective_number_weights(counts, beta: float = 0.9999) -> torch.Tensor:
    """Weights by the effective number of samples, `w_c = (1 - beta) / (1 - beta ** n_c)`, scaled to sum to C.

    Cui et al., CVPR 2019 (arXiv 1901.05555), equation 2; the scaling is that of LDAM-DRW and of the DeiT-LT code.

    Args:
        counts: (C,) training images per class, in the data set's own label order, each at least 1.
        beta: in [0, 1); 0 gives equal weights, values near 1 approach inverse frequency. Default 0.9999 (the paper's).

    Returns:
        (C,) float32 weights that sum to C.

    Raises:
        ValueError: a count below 1 (the class is named) or a beta outside [0, 1).
    """
    counts = torch.as_tensor(counts)
    if not 0 <= beta < 1:
        raise ValueError(f"beta must lie in [0, 1), got {beta}")
    empty = (counts < 1).nonzero().flatten().tolist()
    if empty:
        raise ValueError(f"class {empty[0]} has no training image and so no weight ({len(empty)} such classes in all)")
    if beta == 0:
        return torch.ones(len(counts))
    _, weights = compute_class_weights(counts, int(counts.sum()), method="effective_num", beta=beta)
    return weights
