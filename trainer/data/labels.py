"""Labels as numbers: reading a label column, counting classes, turning strings and plain integers into a ClassLabel.

Classes keep the data set's own order everywhere. Sorting them by frequency is for reports and never happens here.
"""

import logging
import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import ClassLabel, Dataset, DatasetDict, Value

from ..errors import DataError

logger = logging.getLogger(__name__)


def raw_column(dataset: Dataset, column: str) -> pa.Array:
    """The stored values of one small column in row order, without decoding anything.

    Args:
        dataset: any `datasets.Dataset`, also one made by `select`.
        column: the column's name.

    Raises:
        DataError: the column is missing; those present are listed.
    """
    if column not in dataset.column_names:
        raise DataError(f"no column '{column}'; columns present: {', '.join(dataset.column_names)}")
    stored = dataset.data.column(column)
    # `dataset.data` ignores select(); the public way round, an arrow-formatted slice, takes 13 s for 3 million rows.
    if dataset._indices is not None:
        stored = stored.combine_chunks().take(dataset._indices.column(0).combine_chunks())
    return stored.combine_chunks() if isinstance(stored, pa.ChunkedArray) else stored


def label_values(dataset: Dataset, label_column: str = "label", num_classes: int | None = None) -> np.ndarray:
    """The labels of all rows, each checked to be a class number.

    Args:
        dataset: any labelled `datasets.Dataset`; its images are not decoded.
        label_column: a ClassLabel or integer column.
        num_classes: labels must lie in 0 .. num_classes - 1; default: the number of the ClassLabel, else no upper end.

    Returns:
        (N,) int64, in row order.

    Raises:
        DataError: column missing or not of whole numbers, a label missing or out of range (row and value).
    """
    stored = raw_column(dataset, label_column)
    if not pa.types.is_integer(stored.type):
        raise DataError(
            f"column '{label_column}' holds {stored.type}, not class numbers; load_long_tailed encodes names"
        )
    if stored.null_count:
        row = pc.index(stored.is_null(), True).as_py()
        raise DataError(f"row {row}: label missing in column '{label_column}'; correct or remove the row")
    values = stored.to_numpy(zero_copy_only=False).astype(np.int64, copy=False)
    feature = dataset.features[label_column]
    if num_classes is None and isinstance(feature, ClassLabel):
        num_classes = feature.num_classes
    wrong = values < 0 if num_classes is None else (values < 0) | (values >= num_classes)
    if wrong.any():
        row = int(wrong.argmax())
        allowed = "0 or more" if num_classes is None else f"0 to {num_classes - 1}"
        raise DataError(f"row {row}: label {values[row]} is out of range ({allowed}); correct or remove the row")
    return values


def class_counts(dataset: Dataset, label_column: str = "label") -> np.ndarray:
    """Images per class, in the data set's own label order.

    Args:
        dataset: any labelled `datasets.Dataset`; its images are not decoded.
        label_column: a ClassLabel or integer column.

    Returns:
        (C,) int64. C is the number of the ClassLabel, else the largest label plus one.

    Raises:
        DataError: as `label_values`.
    """
    feature = dataset.features.get(label_column)
    num_classes = feature.num_classes if isinstance(feature, ClassLabel) else 0
    return np.bincount(label_values(dataset, label_column), minlength=num_classes).astype(np.int64, copy=False)


def class_names(dataset: Dataset, num_classes: int, label_column: str = "label") -> list[str]:
    """The ClassLabel's names, or the class numbers as strings where the column is a plain integer one."""
    feature = dataset.features[label_column]
    return feature.names if isinstance(feature, ClassLabel) else [str(i) for i in range(num_classes)]


def check_names(names: list[str]) -> None:
    """Refuse names of classes that nobody can read or type; names that differ in nothing but case get a warning.

    Raises:
        DataError: a name is empty or holds a line break or another control character.
    """
    for label, name in enumerate(names):
        if not name.strip() or any(unicodedata.category(letter) == "Cc" for letter in name):
            raise DataError(f"class {label} is called {name!r}; give it a name of letters, digits and the like")
    alike = {}
    for name in names:
        other = alike.setdefault(name.strip().casefold(), name)
        if other != name:
            logger.warning("the classes %r and %r differ in case or spaces alone; both are kept", other, name)


def class_difference(names: list[str], known: list[str], whose: str = "the model") -> str | None:
    """Where the classes of data differ from those of a model, in names or order; None where they do not."""
    if names == known:
        return None
    first = next((pair for pair in zip(names, known, strict=False) if pair[0] != pair[1]), None)
    return f"{first[0]} where {whose} has {first[1]}" if first else f"{len(names)} for {len(known)}"


def encode_labels(splits: DatasetDict, label_column: str) -> DatasetDict:
    """Turn a column of strings or plain integers into a ClassLabel, the same one in every split.

    Strings become classes in sorted order, integers become the classes "0" .. "C-1". The classes are those of `train`.

    Args:
        splits: data sets with at least `train`.
        label_column: the column; returned as it is where it is a ClassLabel already.

    Raises:
        DataError: the column holds neither, a label is missing or negative (row and value), integers leave a gap,
            or a split has a class that `train` lacks.
    """
    feature = splits["train"].features[label_column]
    if isinstance(feature, ClassLabel):
        return splits
    columns = {split: raw_column(dataset, label_column) for split, dataset in splits.items()}
    kind = columns["train"].type
    is_name = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not isinstance(feature, Value) or not (is_name or pa.types.is_integer(kind)):
        raise DataError(f"label column '{label_column}' holds {kind}; one class name or number per image is needed")
    values = _sorted_names(columns["train"]) if is_name else _classes_of_integers(columns["train"])
    label = ClassLabel(names=[str(value) for value in values])
    encoded = {}
    for split, column in columns.items():
        numbers = pc.index_in(column, value_set=pa.array(values, type=column.type))
        if numbers.null_count:
            row = pc.index(numbers.is_null(), True).as_py()
            value = column[row].as_py()
            what = "label missing" if value is None else f"class {value!r} has no train image"
            raise DataError(f"{split}, row {row}: {what} (column '{label_column}'); correct or remove the row")
        dataset = splits[split].remove_columns(label_column)
        encoded[split] = dataset.add_column(label_column, numbers.to_numpy(), feature=label)
    return DatasetDict(encoded)


def _sorted_names(column: pa.Array) -> list[str]:
    return sorted(value for value in column.unique().to_pylist() if value is not None)


def _classes_of_integers(column: pa.Array) -> list[int]:
    present = sorted(value for value in column.unique().to_pylist() if value is not None)
    if present and present[0] < 0:
        row = pc.index(column, present[0]).as_py()
        raise DataError(f"train, row {row}: label {present[0]} is negative; correct or remove the row")
    gap = next((i for i, value in enumerate(present) if value != i), None)
    if gap is not None:
        raise DataError(
            f"class {gap} has no train image (labels run to {present[-1]}); number classes from 0, no gaps"
        )
    return present
