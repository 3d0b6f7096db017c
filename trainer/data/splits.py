"""Cutting a validation or test split from the training images."""

import numpy as np
from datasets import Dataset

from ..errors import DataError
from .labels import class_counts, label_values


def stratified_split(
    dataset: Dataset, fraction: float, label_column: str = "label", seed: int = 0
) -> tuple[Dataset, Dataset]:
    """Hold out about `fraction` of each class.

    A class of n images gives round(n * fraction), but at least 1 if n is 2 or more, and never its last image. The draw
    of a class depends on (seed, class) alone, so other classes do not change it. Both parts keep the row order.

    Args:
        dataset: any labelled `datasets.Dataset`; no image is decoded.
        fraction: share of each class to hold out, between 0 and 1, both excluded.
        label_column: a ClassLabel or integer column.
        seed: seed of the draw, 0 or more, default 0.

    Returns:
        (rest, held_out). Every class of `dataset` is in `rest`; classes with one image are missing in `held_out`.

    Raises:
        ValueError: fraction out of range.
        DataError: no class has two images; otherwise as `label_values`.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction is between 0 and 1, both excluded, not {fraction}")
    labels = label_values(dataset, label_column)
    counts = class_counts(dataset, label_column)
    held_out = np.zeros(len(labels), dtype=bool)
    rows_by_class = np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])
    for label, rows in enumerate(rows_by_class):
        size = min(max(round(len(rows) * fraction), 1), len(rows) - 1)
        if size > 0:
            held_out[np.random.default_rng((seed, label)).permutation(rows)[:size]] = True
    if not held_out.any():
        raise DataError("no class has two images, so none can be held out; add images or do without a held-out split")
    return dataset.select(np.flatnonzero(~held_out)), dataset.select(np.flatnonzero(held_out))
