"""Metrics of one evaluation, per expert and frequency group. Plain numpy arrays in, plain Python numbers out."""

import numpy as np

from .groups import head_mid_tail, many_medium_few
from .predictions import Predictions, predictions

METRICS = (
    "accuracy",
    "balanced_accuracy",
    "head",
    "mid",
    "tail",
    "many",
    "medium",
    "few",
    "macro_f1",
    "g_mean",
    "worst",
    "ece",
)
# Not an expert: the one other key that a report may have.
UNTESTED = "classes_without_test_images"

ECE_BINS = 15


def expert_report(logits, labels, counts, boundaries=None):
    """Score every expert overall and per frequency group, in percent.

    The protocol of DeiT-LT (CVPR 2024, arXiv 2404.02900): the prediction is the arg max of an expert's logits, a
    group's number is the unweighted mean of its classes' accuracies. many/medium/few is the 100/20 rule of Liu et al.
    (OLTR, CVPR 2019), `ece` the expected calibration error of Guo et al. (ICML 2017) with 15 bins of equal width.

    Args:
        logits: {expert name: (N, C) finite scores before the softmax}, usually "mean", "cls" and "dist"; or, instead
            of the scores, the `Predictions` that were made of them.
        labels: (N,) class indices in [0, C), in the data set's own label order.
        counts: (C,) *training* images per class.
        boundaries: where head, mid and tail are cut, as in `head_mid_tail`. Default None: thirds.

    Returns:
        {expert name: {"accuracy", "balanced_accuracy", "head", "mid", "tail", "many", "medium", "few", "macro_f1",
        "g_mean", "worst", "ece"}}, each a float in percent, or None for a group that has no class with test images.
        `balanced_accuracy` is the mean of the per-class accuracies (recalls), `g_mean` their geometric mean, `worst`
        the lowest. Where the test classes differ in size `balanced_accuracy` comes first, since `accuracy` is then
        mostly that of the large ones; tables keep the order. Classes without test images are left out of everything
        but `accuracy` and `ece`; if there are any, the report also has the key "classes_without_test_images" with the
        list of their indices.

    Raises:
        ValueError: no rows, no expert, shapes that do not fit together, a label or a prediction out of range, logits
            that are not finite, or boundaries that do not fit.
    """
    if not logits:
        raise ValueError("there is no expert to report on")
    groups = head_mid_tail(counts, boundaries) | many_medium_few(counts)
    num_classes = len(counts)
    report = {}
    for name, scores in logits.items():
        predicted, checked_labels = _checked(scores, labels, num_classes, f"expert {name!r}")
        report[name] = _numbers(predicted, checked_labels, groups, num_classes)
    test_counts = np.bincount(checked_labels, minlength=num_classes)
    untested = np.flatnonzero(test_counts == 0)
    if len(np.unique(test_counts[test_counts > 0])) > 1:
        report = {name: _first("balanced_accuracy", numbers) for name, numbers in report.items()}
    if untested.size:
        report[UNTESTED] = untested.tolist()
    return report


def per_class_accuracy(logits, labels, num_classes):
    """The accuracy of each class, in percent.

    Args:
        logits: (N, C) finite scores of one expert, or its `Predictions`.
        labels: (N,) class indices in [0, C).
        num_classes: C.

    Returns:
        (C,) float array in label order, NaN for a class without test images.

    Raises:
        ValueError: as `expert_report`, but for the experts and boundaries.
    """
    predicted, labels = _checked(logits, labels, num_classes, "this expert")
    return 100 * _recalls(predicted.classes, labels, num_classes)


def _numbers(predicted, labels, groups, num_classes):
    correct = predicted.classes == labels
    recalls = _recalls(predicted.classes, labels, num_classes)
    tested = recalls[~np.isnan(recalls)]
    numbers = {"accuracy": correct.mean(), "balanced_accuracy": tested.mean()}
    numbers |= {name: _mean_of_tested(recalls[members]) for name, members in groups.items()}
    numbers |= {
        "macro_f1": _macro_f1(predicted.classes, labels, num_classes),
        # In logarithms: the product of a thousand recalls would underflow.
        "g_mean": np.exp(np.log(tested).mean()) if tested.min() > 0 else 0.0,
        "worst": tested.min(),
        "ece": _calibration_error(predicted.confidence, correct),
    }
    return {key: None if numbers[key] is None else float(100 * numbers[key]) for key in METRICS}


def _first(name, numbers):
    return {name: numbers[name], **numbers}


def _recalls(classes, labels, num_classes):
    images = np.bincount(labels, minlength=num_classes)
    hits = np.bincount(labels[classes == labels], minlength=num_classes)
    return np.divide(hits, images, out=np.full(num_classes, np.nan), where=images > 0)


def _mean_of_tested(recalls):
    tested = recalls[~np.isnan(recalls)]
    return tested.mean() if tested.size else None


def _macro_f1(classes, labels, num_classes):
    images = np.bincount(labels, minlength=num_classes)
    predicted = np.bincount(classes, minlength=num_classes)
    hits = np.bincount(labels[classes == labels], minlength=num_classes)
    present = images > 0
    return (2 * hits[present] / (images + predicted)[present]).mean()


def _calibration_error(confidence, correct):
    # Bins are open on the left, as in Guo et al.: (0, 1/15], (1/15, 2/15], ...
    bins = np.ceil(confidence * ECE_BINS).astype(int).clip(1, ECE_BINS)
    gaps = np.bincount(bins, weights=correct - confidence)
    return np.abs(gaps).sum() / len(confidence)


def _checked(logits, labels, num_classes, owner):
    """`Predictions` and labels, the first made of logits unless they are there already."""
    labels = np.asarray(labels)
    if labels.ndim != 1:
        raise ValueError(f"labels must have one number per image, not the shape {labels.shape}")
    if labels.size == 0:
        raise ValueError("there are no images to report on")
    if labels.dtype.kind not in "iu":
        raise ValueError(f"labels must be whole numbers, not {labels.dtype}")
    predicted = _predicted(logits, (len(labels), num_classes), owner)
    outside = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if outside.size:
        raise ValueError(f"row {outside[0]} has the label {labels[outside[0]]}, outside 0..{num_classes - 1}")
    broken = np.flatnonzero(~np.isfinite(predicted.confidence))
    if broken.size:
        raise ValueError(f"the logits of {owner} are not finite in row {broken[0]}")
    # np.bincount refuses uint64.
    return predicted, labels.astype(np.int64)


def _predicted(logits, shape, owner):
    if not isinstance(logits, Predictions):
        logits = np.asarray(logits)
        if logits.shape != shape or logits.dtype.kind not in "iuf":
            raise ValueError(
                f"the logits of {owner} must be numbers of the shape {shape} (labels, classes), not {logits.dtype} "
                f"of the shape {logits.shape}"
            )
        return predictions(logits)
    classes, confidence = np.asarray(logits.classes), np.asarray(logits.confidence)
    if classes.shape != shape[:1] or confidence.shape != shape[:1] or classes.dtype.kind not in "iu":
        raise ValueError(
            f"the predictions of {owner} must be {shape[0]} classes and confidences, one of each per label, not "
            f"{classes.dtype} of the shape {classes.shape} and {confidence.dtype} of the shape {confidence.shape}"
        )
    outside = np.flatnonzero((classes < 0) | (classes >= shape[1]))
    if outside.size:
        raise ValueError(
            f"{owner} predicts class {classes[outside[0]]} in row {outside[0]}, outside 0..{shape[1] - 1}"
        )
    return Predictions(classes.astype(np.int64), confidence)
