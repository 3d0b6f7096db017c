"""Frequency groups of classes: head, mid, tail by rank; many, medium, few by count. Class indices stay as they are."""

import numpy as np

# DeiT-LT (CVPR 2024, arXiv 2404.02900) cuts the frequency ranks at fixed places, whatever the imbalance ratio.
PAPER_BOUNDARIES = {
    "cifar10_lt": (3, 7),
    "cifar100_lt": (36, 71),
    "imagenet_lt": (390, 835),
    "inaturalist2018": (842, 4543),
}
_PAPER_CLASSES = {"cifar10_lt": 10, "cifar100_lt": 100, "imagenet_lt": 1000, "inaturalist2018": 8142}

MANY_ABOVE = 100
FEW_BELOW = 20


def rank_order(counts):
    """Class indices from the most to the least frequent class.

    Args:
        counts: (C,) training images per class, in the data set's own label order.

    Returns:
        (C,) int array. Classes with equal counts keep their label order.

    Raises:
        ValueError: `counts` is not a non-empty list of non-negative numbers.
    """
    return np.argsort(-_checked_counts(counts), kind="stable")


def head_mid_tail(counts, boundaries=None):
    """Split classes into head, mid and tail by their frequency rank, as the paper's tables do.

    The cuts may fall between classes of equal count (they do for ImageNet-LT); the lower label is then ranked first.
    This is the grouping of DeiT-LT (CVPR 2024, arXiv 2404.02900).

    Args:
        counts: (C,) training images per class, in the data set's own label order.
        boundaries: a pair (b0, b1): head is ranks [0, b0), mid [b0, b1), tail [b1, C). Or a name in
            `PAPER_BOUNDARIES`. Default None: thirds, (round(C / 3), round(2 C / 3)). With two classes the thirds leave
            mid empty; a single class is mid.

    Returns:
        {"head", "mid", "tail"} -> int array of class indices, most frequent first.

    Raises:
        ValueError: an unknown name, a name of a data set with another number of classes, a pair outside
            0 < b0 < b1 < C, or counts that are not non-negative numbers.
    """
    order = rank_order(counts)
    first, second = _resolve_boundaries(boundaries, len(order))
    return {"head": order[:first], "mid": order[first:second], "tail": order[second:]}


def many_medium_few(counts):
    """Split classes by the 100/20 rule: many above 100 training images, medium 20 to 100, few below 20.

    The rule of Liu et al., "Large-Scale Long-Tailed Recognition in an Open World" (CVPR 2019, arXiv 1904.05160).

    Args:
        counts: (C,) training images per class, in the data set's own label order.

    Returns:
        {"many", "medium", "few"} -> int array of class indices, most frequent first; a group may be empty.

    Raises:
        ValueError: `counts` is not a non-empty list of non-negative numbers.
    """
    order = rank_order(counts)
    ranked = np.asarray(counts)[order]
    return {
        "many": order[ranked > MANY_ABOVE],
        "medium": order[(ranked >= FEW_BELOW) & (ranked <= MANY_ABOVE)],
        "few": order[ranked < FEW_BELOW],
    }


def imbalance_ratio(counts):
    """The imbalance ratio rho: largest class over smallest.

    Args:
        counts: (C,) training images per class.

    Returns:
        float, 1.0 for a balanced set.

    Raises:
        ValueError: a class has no training images, or `counts` is not a non-empty list of non-negative numbers.
    """
    counts = _checked_counts(counts)
    if counts.min() == 0:
        raise ValueError(f"class {int(counts.argmin())} has no training images, so there is no imbalance ratio")
    return float(counts.max() / counts.min())


def group_rule(counts, boundaries=None):
    """Name both grouping rules in one line, for the caption of a table.

    Args:
        counts: (C,) training images per class.
        boundaries: as in `head_mid_tail`. Default None: thirds.

    Returns:
        str, such as "head/mid/tail: ranks 1-3, 4-7, 8-10 by training count; many/medium/few: >100, 20-100, <20
        training images".

    Raises:
        ValueError: as `head_mid_tail`.
    """
    spans, start = [], 0
    for members in head_mid_tail(counts, boundaries).values():
        end = start + len(members)
        spans.append(_span(start + 1, end))
        start = end
    return f"head/mid/tail: ranks {', '.join(spans)} by training count; {THRESHOLD_RULE}"


THRESHOLD_RULE = f"many/medium/few: >{MANY_ABOVE}, {FEW_BELOW}-{MANY_ABOVE}, <{FEW_BELOW} training images"


def _span(first, last):
    if last < first:
        return "none"
    return str(first) if first == last else f"{first}-{last}"


def _checked_counts(counts):
    counts = np.asarray(counts)
    if counts.ndim != 1 or counts.size == 0 or counts.dtype.kind not in "iuf":
        raise ValueError("class counts must be a non-empty list with one number per class")
    # As floats: negating unsigned counts for the sort would wrap around.
    counts = counts.astype(np.float64)
    bad = np.flatnonzero(~(np.isfinite(counts) & (counts >= 0)))
    if bad.size:
        raise ValueError(f"class {bad[0]} has the impossible count {counts[bad[0]]:g}")
    return counts


def _resolve_boundaries(boundaries, num_classes):
    if boundaries is None:
        return round(num_classes / 3), round(2 * num_classes / 3)
    if isinstance(boundaries, str):
        if boundaries not in PAPER_BOUNDARIES:
            raise ValueError(f"no boundaries are named {boundaries!r}; known: {', '.join(PAPER_BOUNDARIES)}")
        if _PAPER_CLASSES[boundaries] != num_classes:
            raise ValueError(
                f"boundaries {boundaries!r} are for {_PAPER_CLASSES[boundaries]} classes, the data has {num_classes}"
            )
        return PAPER_BOUNDARIES[boundaries]
    pair = np.asarray(boundaries)
    if pair.shape != (2,) or pair.dtype.kind not in "iu" or not 0 < pair[0] < pair[1] < num_classes:
        raise ValueError(
            f"boundaries {boundaries} are not two whole numbers with 0 < first < second < {num_classes} classes"
        )
    return int(pair[0]), int(pair[1])
