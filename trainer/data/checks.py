"""Checks of labels and splits before training, and of everything together."""

import numpy as np
from datasets import ClassLabel, Dataset, DatasetDict

from ..errors import DataError
from .image_checks import check_all_images
from .labels import class_names, label_values


def check_labels(
    dataset: Dataset, split: str = "train", label_column: str = "label", num_classes: int | None = None
) -> None:
    """Look at every label; in `train` every class must have an image.

    Args:
        dataset: a `datasets.Dataset`; no image is decoded.
        split: the split's name; "train" must have all classes, others may lack some.
        label_column: a ClassLabel or integer column.
        num_classes: default: the number of the ClassLabel; needed for an integer column.

    Raises:
        DataError: a label is missing or out of range (row, value, allowed range); a class without train image (names).
    """
    feature = dataset.features.get(label_column)
    if num_classes is None and isinstance(feature, ClassLabel):
        num_classes = feature.num_classes
    try:
        labels = label_values(dataset, label_column, num_classes)
    except DataError as error:
        raise DataError(f"{split}, {error}") from error
    if len(labels) == 0:
        raise DataError(f"{split}: the split has no images")
    counts = np.bincount(labels, minlength=num_classes or 0)
    if split == "train" and 0 in counts:
        names = class_names(dataset, len(counts), label_column)
        empty = [names[i] for i in np.flatnonzero(counts == 0)]
        shown = ", ".join(empty[:10]) + (", ..." if len(empty) > 10 else "")
        raise DataError(
            f"train: {len(empty)} of {len(counts)} classes have no image ({shown}); add images or drop them"
        )


def check_dataset(splits: DatasetDict, decode_images: bool = True, num_workers: int = 1) -> None:
    """Everything that can be known about the data before training; cheap checks of all splits come first.

    Args:
        splits: `train` and any others, each with the columns `image` and `label` (a ClassLabel).
        decode_images: also decode every image once, default yes.
        num_workers: processes that decode, default 1, see `check_images`.

    Raises:
        DataError: one line that says what is wrong, where, and what to do.
    """
    if "train" not in splits:
        raise DataError(f"there is no split 'train'; splits present: {', '.join(splits)}")
    label = splits["train"].features.get("label")
    if not isinstance(label, ClassLabel):
        raise DataError("train: column 'label' must be a ClassLabel; load_long_tailed makes one")
    if label.num_classes < 2:
        raise DataError(f"the data have one class ({', '.join(label.names)}), which leaves nothing to tell apart")
    for split, dataset in splits.items():
        check_labels(dataset, split, num_classes=label.num_classes)
        if getattr(dataset.features["label"], "names", None) != label.names:
            raise DataError(
                f"{split}: its class names or their order differ from those of train; encode both together"
            )
    if decode_images:
        check_all_images(splits, num_workers)
