"""Data sets of image files that lists name, with their labels: lists that are given, or official ones in a folder."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import ClassLabel, Dataset, DatasetDict, DatasetInfo, Features, Image

from ..errors import DataError
from .labels import class_difference
from .layouts import located, with_known_folders
from .list_files import ImageList, read_list
from .official_lists import OFFICIAL, find_official

logger = logging.getLogger(__name__)


def image_list_files(
    dataset: str, train_list: str | None = None, test_list: str | None = None
) -> tuple[Path, Path | None] | None:
    """The list files of a data set.

    Args:
        dataset: as the user names it; lists need a folder.
        train_list, test_list: paths, looked for in the working folder, then in the data folder. Default: the official
            lists of ImageNet-LT, iNaturalist-2018 or Places-LT, if they lie in the folder.

    Returns:
        Those of train and test, the latter None where there is none; None for a data set without lists.

    Raises:
        DataError: a list is missing, or as `find_official`.
    """
    root = Path(dataset).expanduser()
    is_folder = bool(dataset) and os.path.isdir(root)
    if train_list is None and test_list is None:
        return find_official(root) if is_folder else None
    if not is_folder:
        raise DataError(f"train_list and test_list name images of a folder; '{dataset}' is none, name their folder")
    if train_list is None:
        raise DataError("test_list needs a train_list, which has the classes; name it too")
    return _given("train_list", train_list, root), test_list and _given("test_list", test_list, root)


def _given(setting: str, name: str, root: Path) -> Path:
    for file in (Path(name).expanduser(), root / name):
        if os.path.isfile(file):
            return file
    raise DataError(f"{setting}: there is no file {name}, nor one of this name in {root}; check the path")


def read_image_lists(
    root: Path,
    files: tuple[Path, Path | None],
    image_column: str | None = None,
    label_column: str | None = None,
) -> DatasetDict:
    """Read the images of lists; they stay files and are not opened.

    Classes are numbered as the lists say; names of classes are sorted. A number is called by the folder of its
    training images, where each class has one and no two share one, or as iNaturalist's annotations call it; else "0"
    to "C-1".

    Args:
        root: the data folder, in which all paths begin.
        files: from `image_list_files`.
        image_column, label_column: of CSV and JSON files, see `read_list`.

    Returns:
        `train` and perhaps `test`, with the columns `image` and `label`, in the order of the lists.

    Raises:
        DataError: as `read_list`; a label is negative, a number below the largest has no image, a test label or an
            image of both lists, categories of test that are not those of train in their order, no known folder layout
            fits; with file, line and what to do.
    """
    splits = {"train": read_list(files[0], image_column, label_column)}
    if files[1] is not None:
        splits["test"] = read_list(files[1], image_column, label_column)
        _refuse_in_both(**splits)
        _refuse_other_names(**splits)
        _tell_of_unused(files)
    splits, names = _numbered(splits)
    folders = _class_folders(splits["train"])
    names = names or splits["train"].names or folders or [str(i) for i in range(_count(splits["train"]))]
    root, features = root.absolute(), Features({"image": Image(), "label": ClassLabel(names=names)})
    return DatasetDict({split: _as_dataset(listed, folders, root, features) for split, listed in splits.items()})


def _refuse_in_both(train: ImageList, test: ImageList) -> None:
    both = pc.is_in(test.paths, value_set=train.paths)
    test.refuse_first(both, f"{{path}} is a training image too, by {train.file}; remove it from one of the lists")


def _refuse_other_names(train: ImageList, test: ImageList) -> None:
    """Numbers of categories mean the same in both files only where their names do."""
    if train.names is None or test.names is None:
        return
    if (detail := class_difference(test.names, train.names, whose="the other")) is not None:
        raise DataError(
            f"{test.file}: the categories, or their order, differ from those of {train.file}: {detail}; number both "
            "the same"
        )


def _tell_of_unused(files: tuple[Path, Path]) -> None:
    for data in OFFICIAL:
        present = [files[0].with_name(name + end) for name in data.unused for end in ("", ".gz")]
        unused = [str(path) for path in present if path.is_file() and path not in files]
        if files[0].name.removesuffix(".gz") == data.train and unused:
            logger.warning("lists that are not used: %s", ", ".join(unused))


def _count(train: ImageList) -> int:
    return pc.max(train.labels).as_py() + 1


def _numbered(splits: dict[str, ImageList]) -> tuple[dict[str, ImageList], list[str] | None]:
    """The lists with labels that are numbers of classes, and the classes' names where labels were names."""
    train, names = splits["train"], None
    if pa.types.is_string(train.labels.type):
        names = sorted(train.labels.unique().to_pylist())
        for split, listed in splits.items():
            numbers = pc.index_in(listed.labels.cast(pa.string()), value_set=pa.array(names))
            listed.refuse_first(pc.is_null(numbers), _no_train_image(train))
            splits[split] = listed._replace(labels=numbers.cast(pa.int64()))
        return splits, names
    for listed in splits.values():
        if pa.types.is_string(listed.labels.type):
            is_name = pc.is_null(pc.index_in(listed.labels, value_set=train.labels.unique().cast(pa.string())))
            listed.refuse_first(is_name, _no_train_image(train))
        listed.refuse_first(pc.less(listed.labels, 0), "label {label} is negative; number the classes from 0")
    present = np.unique(train.labels.to_numpy())
    gap = np.flatnonzero(present != np.arange(len(present)))
    if len(gap):
        raise DataError(
            f"{train.file}: class {gap[0]} has no train image (labels run to {present[-1]}); number classes from 0, "
            "no gaps"
        )
    if "test" in splits:
        splits["test"].refuse_first(pc.greater_equal(splits["test"].labels, len(present)), _no_train_image(train))
    return splits, None


def _no_train_image(train: ImageList) -> str:
    return f"class '{{label}}' has no train image in {train.file}; correct or remove the row"


def _class_folders(train: ImageList) -> list[str] | None:
    """(C,) the last folder of each class's images; None where a class has several, or shares its own."""
    paths = with_known_folders(train.paths, train.labels, None)
    if not pc.all(pc.match_substring(paths, "/")).as_py():
        return None
    parents = pc.replace_substring_regex(paths, "/[^/]*$", "").dictionary_encode()
    labels, folders = train.labels.to_numpy(), parents.indices.to_numpy()
    classes = labels.max() + 1
    pairs = np.unique(labels * np.int64(len(parents.dictionary)) + folders)
    if not len(pairs) == classes == len(parents.dictionary):
        return None
    by_label = parents.dictionary.take(pa.array(pairs % len(parents.dictionary)))  # pairs are in the order of labels
    names = pc.replace_substring_regex(by_label, "^.*/", "").to_pylist()
    return names if len(set(names)) == len(names) else None


def _as_dataset(listed: ImageList, folders: list[str] | None, root: Path, features: Features) -> Dataset:
    known = with_known_folders(listed.paths, listed.labels, folders)
    paths = located(known, root, listed.file).cast(pa.string())
    images = pa.StructArray.from_arrays([pa.nulls(len(paths), pa.binary()), paths], ["bytes", "path"])
    table = pa.table({"image": images, "label": listed.labels})
    return Dataset(table, info=DatasetInfo(features=features))
