"""Flatness of a teacher's minimum: its loss under random perturbation of the weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call


@torch.no_grad()
def perturbed_losses(
    model: nn.Module,
    batches: Iterable[Mapping[str, Tensor]],
    num_classes: int,
    radii: Sequence[float],
    draws: int = 10,
    seed: int = 0,
) -> np.ndarray:
    """The mean cross-entropy of each class at `w + radius * d`, for random directions d as long as the weights w.

    The directions are those of Li et al., "Visualizing the Loss Landscape of Neural Nets" (NeurIPS 2018, arXiv
    1712.09913), section 4; see `filter_normalised_direction`. The model's own weights are never written to.

    Args:
        model: images to (B, C) logits; it is put into evaluation mode, where BatchNorm keeps its running statistics.
        batches: dicts with `pixel_values` (B, 3, H, W) and `labels` (B,) on any device; read once, one at a time.
        num_classes: C.
        radii: R norms of the perturbation, relative to the weights'; 0 is the unperturbed loss.
        draws: D directions; each is taken at every radius. Default 10.
        seed: of the directions, each of which depends on it and on its own number alone. Default 0.

    Returns:
        (R, D, C) float32 in nats, NaN for a class without images.
    """
    model.eval()
    device = next(model.parameters()).device
    directions = [filter_normalised_direction(model, seed, draw) for draw in range(draws)]
    sums = torch.zeros(len(radii), draws, num_classes, device=device)
    images = torch.zeros(num_classes, device=device)
    for batch in batches:
        pixels, labels = batch["pixel_values"].to(device), batch["labels"].to(device)
        images.index_add_(0, labels, torch.ones(len(labels), device=device))  # bincount would wait for the device
        for r, radius in enumerate(radii):
            for d, direction in enumerate(directions):
                weights = {name: model.get_parameter(name) + radius * step for name, step in direction.items()}
                logits = functional_call(model, weights, (pixels,)).float()
                sums[r, d].index_add_(0, labels, F.cross_entropy(logits, labels, reduction="none"))
    return (sums / images).cpu().numpy()


def filter_normalised_direction(model: nn.Module, seed: int, draw: int) -> dict[str, Tensor]:
    """A Gaussian direction whose every filter has the norm of the model's filter.

    So a filter that BatchNorm scales back anyway is perturbed in proportion to its size, and figures of networks with
    weights of different size can be compared. A filter is one index of a weight's first dimension; vectors (biases,
    BatchNorm) have none and stay as they are.

    Args:
        model: whose weights.
        seed, draw: the direction is a function of these two and of the weights' shapes and norms.

    Returns:
        {parameter name: tensor like it}, drawn on the CPU, on the parameter's device.
    """
    generator = torch.Generator().manual_seed(int(np.random.SeedSequence((seed, draw)).generate_state(1)[0]))
    direction = {}
    for name, weight in model.named_parameters():
        if weight.ndim < 2:
            continue
        noise = torch.randn(weight.shape, generator=generator).to(weight)
        direction[name] = noise * (_filter_norms(weight.detach()) / _filter_norms(noise))
    return direction


def _filter_norms(weight: Tensor) -> Tensor:
    return torch.linalg.vector_norm(weight, dim=tuple(range(1, weight.ndim)), keepdim=True)


def flatness_curve(losses: np.ndarray, radii: Sequence[float], groups: Mapping[str, Sequence[int]]) -> dict:
    """How much the loss rises with the radius, over all classes and per group of classes.

    Args:
        losses: (R, D, C) nats, NaN for a class without images, from `perturbed_losses`; at least two draws.
        radii: R norms, the first of them 0.
        groups: {name: class indices}, as from `head_mid_tail`.

    Returns:
        {"radius": R norms, "loss": {group: nats at radius 0}, "all": (R means, R standard deviations of the increase
        over the draws), and the same for each group}. "all" and the groups are means over classes, so each class
        counts the same; a group none of whose classes has images is left out.

    Raises:
        ValueError: fewer than two draws, no radius 0 in front, or no class with images.
    """
    if losses.shape[1] < 2 or radii[0] != 0:
        raise ValueError("an increase and its deviation need radius 0 first, and at least two draws")
    seen = np.flatnonzero(~np.isnan(losses).all(axis=(0, 1)))
    members = {name: np.intersect1d(classes, seen) for name, classes in {"all": seen, **groups}.items()}
    members = {name: classes for name, classes in members.items() if len(classes)}
    if not members:
        raise ValueError("there is no class with images")
    means = {name: losses[:, :, classes].mean(axis=2, dtype=np.float64) for name, classes in members.items()}
    curve = {"radius": list(radii), "loss": {name: float(mean[0].mean()) for name, mean in means.items()}}
    for name, mean in means.items():
        increase = mean - mean[0]
        curve[name] = (increase.mean(axis=1).tolist(), increase.std(axis=1, ddof=1).tolist())
    return curve
