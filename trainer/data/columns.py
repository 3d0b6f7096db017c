"""Which columns of a data set are the images and the labels, and the same two columns of every data set."""

from __future__ import annotations

import pyarrow.compute as pc
from datasets import ClassLabel, Dataset, DatasetDict, Image

from ..errors import DataError
from .labels import check_names, class_difference, encode_labels, label_values, raw_column

LABEL_COLUMNS = ("label", "labels", "cls")


def image_and_label(
    splits: DatasetDict, name: str, image_column: str | None = None, label_column: str | None = None
) -> DatasetDict:
    """Reduce splits to the columns `image` and `label`, a ClassLabel that all of them share.

    Args:
        splits: data sets with at least `train`, whose columns and classes count.
        name: of the data, for messages.
        image_column: default: the only Image column.
        label_column: default: the only ClassLabel column, else one called "label", "labels" or "cls"; of a column of
            objects one of their entries, such as "json.class".

    Raises:
        DataError: a column is missing or is no images or no labels; those present are listed.
    """
    if label_column and "." in label_column and label_column not in splits["train"].column_names:
        splits = splits.flatten()  # the entries of WebDataset's .json files are columns then
    image = image_column or find_image_column(splits["train"])
    label = label_column or find_label_column(splits["train"])
    if image == label:
        raise DataError(f"column '{image}' cannot be both image and label; choose with --image_column, --label_column")
    for split, dataset in splits.items():
        for column in (image, label):
            if column not in dataset.column_names:
                present = ", ".join(dataset.column_names)
                raise DataError(f"{split} of '{name}' has no column '{column}'; columns present: {present}")
    splits = encode_labels(splits, label)
    check_names(splits["train"].features[label].names)
    return DatasetDict({split: _two_columns(dataset, image, label) for split, dataset in splits.items()})


def with_classes(dataset: Dataset, names: list[str]) -> Dataset:
    """Reduce one data set to `image` and `label`, with the classes of a model in the model's order.

    Args:
        dataset: labels are a ClassLabel of these names, names as strings, or class numbers.
        names: (C,) the model's classes.

    Raises:
        DataError: other classes, another order, or as `image_and_label`.
    """
    image, label = find_image_column(dataset), find_label_column(dataset)
    feature, column = dataset.features[label], raw_column(dataset, label)
    if isinstance(feature, ClassLabel):
        if (detail := class_difference(feature.names, names)) is not None:
            raise DataError(f"column '{label}' has other classes than the model, or another order: {detail}")
        label_values(dataset, label)  # such as -1, which stands for no label on the Hub
        return _two_columns(dataset, image, label)
    if column.type in ("string", "large_string"):
        column = pc.index_in(column, value_set=pc.cast(names, column.type))
        if column.null_count:
            raise DataError(f"row {pc.index(column.is_null(), True)}: the label is none of the model's classes")
    else:
        label_values(dataset, label, num_classes=len(names))
    dataset = dataset.remove_columns(label).add_column(label, column.to_numpy(), feature=ClassLabel(names=names))
    return _two_columns(dataset, image, label)


def find_image_column(dataset: Dataset) -> str:
    """The only Image column.

    Raises:
        DataError: there is none, or several.
    """
    found = [name for name, feature in dataset.features.items() if isinstance(feature, Image)]
    if len(found) != 1:
        what = f"several image columns ({', '.join(found)})" if found else "no image column"
        raise DataError(f"{what}; columns present: {', '.join(dataset.column_names)}; choose with --image_column")
    return found[0]


def find_label_column(dataset: Dataset) -> str:
    """The only ClassLabel column, else the one called "label" or "labels", or "cls" as in WebDataset's files.

    Raises:
        DataError: there is none, or several.
    """
    found = [name for name, feature in dataset.features.items() if isinstance(feature, ClassLabel)]
    if len(found) != 1:
        found = [name for name in dataset.column_names if name in LABEL_COLUMNS] or found
    if len(found) != 1:
        what = f"several label columns ({', '.join(found)})" if found else "no label column"
        raise DataError(f"{what}; columns present: {', '.join(dataset.column_names)}; choose with --label_column")
    return found[0]


def _two_columns(dataset: Dataset, image: str, label: str) -> Dataset:
    dataset = dataset.with_format(None)  # as it was stored, whatever the user reads it as
    renamed = {old: new for old, new in ((image, "image"), (label, "label")) if old != new}
    dataset = dataset.select_columns([image, label]).rename_columns(renamed)
    feature = dataset.features["image"]
    if isinstance(feature, Image) and feature.decode and feature.mode is None:
        return dataset
    try:
        return dataset.cast_column("image", Image())  # a mode such as RGB would cut 16 bits off at 255
    except (TypeError, ValueError, NotImplementedError) as error:
        raise DataError(f"column '{image}' holds no images ({feature}); choose another with --image_column") from error
