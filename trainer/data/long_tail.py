"""Long-tailed subsets of balanced data sets, by the formula and the draw of the published benchmarks.

Cao et al., Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss, NeurIPS 2019 (LDAM-DRW);
the same subset is used by DeiT-LT (Rangwani et al., CVPR 2024) and its teachers.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
from datasets import Dataset

from ..errors import DataError
from .labels import class_counts, class_names, label_values
from .published_order import original_order


def long_tailed_counts(
    available: Sequence[int],
    rho: float,
    profile: str,
    max_per_class: int | None = None,
    names: Sequence[str] | None = None,
) -> np.ndarray:
    """How many images each class keeps (Cao et al. 2019).

    "exp": n_i = int(n_max * (1 / rho) ** (i / (C - 1))). "step": n_max for the first C // 2 classes, int(n_max / rho)
    for the rest. i is the place in label order, never a frequency rank.

    Args:
        available: (C,) images per class in label order.
        rho: imbalance ratio, largest class over smallest, at least 1.
        profile: "exp" or "step".
        max_per_class: n_max in images; default: the largest whose profile fits into every class, which for a balanced
            data set is the size of a class.
        names: (C,) class names for messages; default: the class numbers.

    Returns:
        (C,) int64, images to keep per class.

    Raises:
        ValueError: rho below 1 or not finite, unknown profile, max_per_class below 1.
        DataError: a class is too small for max_per_class, or the profile leaves a class without an image.
    """
    if not 1 <= rho < math.inf:
        raise ValueError(f"rho is the size of the largest class over the smallest, 1 or more, not {rho}")
    if profile not in ("exp", "step"):
        raise ValueError(f"profile is 'exp' or 'step', not {profile!r}")
    if max_per_class is not None and max_per_class < 1:
        raise ValueError(f"max_per_class is 1 or more, not {max_per_class}")
    available = [int(n) for n in available]
    names = [str(i) for i in range(len(available))] if names is None else names
    if not available or 0 in available:
        which = f"class '{names[available.index(0)]}' has" if available else "there are"
        raise DataError(f"{which} no images to draw a long-tailed subset from; remove the class or add images")
    n_max = max_per_class or _largest_that_fits(available, rho, profile)
    counts = _profile_counts(n_max, len(available), rho, profile)
    for name, needs, has in zip(names, counts, available, strict=True):
        if needs > has:
            raise DataError(f"class '{name}' has {has} images, needs {needs} for max_per_class {n_max}: lower it")
    if 0 in counts:
        works = _largest_rho(available, rho, profile, max_per_class)
        name = names[counts.index(0)]
        raise DataError(
            f"rho {rho:g} leaves class '{name}' without images; the largest whole rho that works is {works}"
        )
    return np.array(counts, dtype=np.int64)


def make_long_tailed(
    dataset: Dataset,
    rho: float = 100,
    profile: str = "exp",
    label_column: str = "label",
    seed: int = 0,
    max_per_class: int | None = None,
) -> Dataset:
    """Keep a long-tailed subset; with the defaults, on CIFAR-10 and CIFAR-100, the published one.

    As in LDAM-DRW (Cao et al. 2019), numpy's legacy generator is seeded once; then, class by class in label order, the
    rows of the class are shuffled and the first n_i kept. CIFAR-10's five blocks of rows are put into their original
    order before, in whatever order a copy has them (`original_order`).

    Args:
        dataset: any labelled `datasets.Dataset`; no image is decoded and no row is copied.
        rho: imbalance ratio, largest class over smallest, default 100.
        profile: "exp" (default) or "step", see `long_tailed_counts`.
        label_column: a ClassLabel or integer column.
        seed: seed of the draw, default 0, the published one.
        max_per_class: images of the largest class; default: the largest that fits.

    Returns:
        The kept rows, class after class in label order. Labels and class names stay as they are.

    Raises:
        ValueError, DataError: as `long_tailed_counts`, `label_values` and `original_order`.
    """
    labels = label_values(dataset, label_column)
    available = class_counts(dataset, label_column)
    names = class_names(dataset, len(available), label_column)
    counts = long_tailed_counts(available, rho, profile, max_per_class, names)
    order = original_order(labels, names, seed)
    if order is not None:
        dataset, labels = dataset.select(order), labels[order]
    rows_by_class = np.split(np.argsort(labels, kind="stable"), np.cumsum(available)[:-1])
    generator = np.random.RandomState(seed)  # the legacy stream is what the published subsets were drawn from
    kept = []
    for rows, count in zip(rows_by_class, counts, strict=True):
        generator.shuffle(rows)
        kept.append(rows[:count])
    return dataset.select(np.concatenate(kept))


def _profile_counts(n_max: int, num_classes: int, rho: float, profile: str) -> list[int]:
    if profile == "step":
        head = num_classes // 2
        return [n_max] * head + [int(n_max / rho)] * (num_classes - head)
    # Python floats on purpose: numpy's power may differ in the last bit, which truncation turns into an image.
    last = max(num_classes - 1, 1)
    return [int(n_max * (1 / rho) ** (i / last)) for i in range(num_classes)]


def _largest_that_fits(available: list[int], rho: float, profile: str) -> int:
    def too_large(n_max: int) -> bool:
        counts = _profile_counts(n_max, len(available), rho, profile)
        return any(count > has for count, has in zip(counts, available, strict=True))

    # The first class keeps n_max images, and more images for it never mean fewer for another class.
    return bisect_right(range(1, available[0] + 1), False, key=too_large)


def _largest_rho(available: list[int], rho: float, profile: str, max_per_class: int | None) -> int:
    def leaves_none(whole_rho: int) -> bool:
        n_max = max_per_class or _largest_that_fits(available, whole_rho, profile)
        return 0 in _profile_counts(n_max, len(available), whole_rho, profile)

    # None is left anyway where rho exceeds the largest class.
    return bisect_right(range(1, int(min(rho, max(available))) + 1), False, key=leaves_none)
