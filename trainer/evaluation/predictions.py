"""What is kept of an expert's logits: per image the class and the confidence, however many classes there are."""

from typing import NamedTuple

import numpy as np

_BLOCK = 1024


class Predictions(NamedTuple):
    """An expert's answers to N images: all that a report needs of its logits.

    Attributes:
        classes: (N,) ints, the arg max of the logits; of equal ones the first.
        confidence: (N,) floats, the largest softmax probability; NaN where a logit is not finite.
    """

    classes: np.ndarray
    confidence: np.ndarray


def predictions(logits):
    """Reduce logits to the predictions; `trainer.predicting.reduced` does the same on a device, batch by batch.

    Args:
        logits: (N, C) numbers.

    Returns:
        `Predictions`, the confidence in float64.
    """
    # By blocks: softmax of 8142 classes at once would take gigabytes.
    blocks = np.array_split(logits, len(logits) // _BLOCK + 1)
    return Predictions(logits.argmax(axis=1), np.concatenate([_confidence(block) for block in blocks]))


def _confidence(logits):
    broken = ~np.isfinite(logits).all(axis=1)
    logits = np.where(broken[:, None], np.nan, logits.astype(np.float64))
    return 1 / np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1)
