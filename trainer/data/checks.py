"""Checks of the data before training, so that a run does not end hours later at one broken file."""

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import active_children, get_context

import numpy as np
from datasets import ClassLabel, Dataset, DatasetDict, Image
from PIL import UnidentifiedImageError

from ..errors import DataError
from .labels import class_names, label_values

BATCH = 256  # rows held in memory at a time


def check_images(dataset: Dataset, image_column: str = "image", num_workers: int = 1, split: str = "train") -> None:
    """Decode every image once, exactly as reading the row would.

    One process takes about 0.3 ms for a CIFAR image (60,000: 17 s) and 2 ms for a 500 x 400 JPEG.

    Args:
        dataset: a `datasets.Dataset` with an Image column.
        image_column: the Image column.
        num_workers: processes that decode, default 1, this one. More pay off from some ten thousand large pictures on.
        split: the split's name, for messages.

    Raises:
        DataError: the first image, in row order, that is missing, truncated or undecodable, with its path and row.
    """
    if not isinstance(dataset.features.get(image_column), Image):
        raise DataError(f"{split}: '{image_column}' is no image column; columns: {', '.join(dataset.column_names)}")
    dataset = dataset.select_columns([image_column])
    num_workers = min(num_workers, len(dataset))
    if num_workers <= 1:
        parts, problems = [dataset], [_first_problem(dataset)]
    else:
        # Processes, since Pillow decodes under the interpreter lock; spawned, since forking beside CUDA is unsafe.
        parts = [dataset.shard(num_workers, i, contiguous=True) for i in range(num_workers)]
        with ProcessPoolExecutor(num_workers, mp_context=get_context("spawn")) as pool:
            problems = _interruptible(lambda: pool.map(_first_problem, parts))
    start = 0
    for part, problem in zip(parts, problems, strict=True):
        if problem is not None:
            row, path, what = problem
            where = f"row {start + row} ({path})" if path else f"row {start + row}"
            raise DataError(f"{split}, {where}: {what}; replace the image or remove the row")
        start += len(part)


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


def check_all_images(splits: DatasetDict, num_workers: int = 1) -> None:
    """`check_images` of every split.

    Args:
        splits: each with an image column `image`.
        num_workers: processes that decode, default 1, see `check_images`.

    Raises:
        DataError: as `check_images`.
    """
    for split, dataset in splits.items():
        check_images(dataset, num_workers=num_workers, split=split)


def _first_problem(dataset: Dataset) -> tuple[int, str | None, str] | None:
    """(row, path, what is wrong) of the first image of the only column that cannot be decoded."""
    (column, feature), *_ = dataset.features.items()
    decoder = Image(mode=feature.mode)
    row = 0
    for table in dataset.with_format("arrow").iter(batch_size=BATCH):
        for value in table[column].to_pylist():
            if value is None or (value["bytes"] is None and value["path"] is None):
                return row, None, "the image is missing"
            try:
                decoder.decode_example(value)
            except Exception as error:  # decoders raise anything, from SyntaxError to struct.error, on broken bytes
                return row, value["path"], _reason(error)
            row += 1
    return None


def _interruptible(start: Callable[[], Iterator]) -> list:
    """The results of processes that `start` starts; Ctrl-C ends them without a word of theirs."""
    main = threading.current_thread() is threading.main_thread()  # no other may set handlers
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if main else None  # which new processes inherit
    try:
        results = start()
    finally:
        if main:
            signal.signal(signal.SIGINT, before)
    try:
        return list(results)
    except KeyboardInterrupt:
        for process in active_children():
            process.terminate()
        raise


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "the file is not an image that Pillow can read"
    if isinstance(error, FileNotFoundError):
        return "the image file does not exist"
    return "the image cannot be decoded: " + (str(error).split("\n")[0] or type(error).__name__)
