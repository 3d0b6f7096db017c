"""Loading of any data set: the embedded digits, a Hub id, a local folder, a tree of image files, lists of them."""

import logging
import os
import re
from pathlib import Path

from datasets import DatasetDict
from datasets.exceptions import DatasetsError

from ..errors import DataError
from .columns import image_and_label
from .digits import load_digits_dataset
from .folders import read_image_tree
from .hub import hub_caches, load_hub
from .image_lists import image_list_files, read_image_lists
from .labels import check_names
from .long_tail import make_long_tailed
from .places import refuse_rows_outside
from .splits import stratified_split
from .stored import KINDS, load_stored

logger = logging.getLogger(__name__)

TEST_SPLITS = ("test", "validation", "val", "valid")  # the first one present is the test split


def load_long_tailed(
    name_or_path: str,
    rho: float | None = None,
    profile: str = "exp",
    seed: int = 0,
    max_per_class: int | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    config_name: str | None = None,
    test_fraction: float = 0.0,
    **source,
) -> DatasetDict:
    """Load an image data set as `train` and `test` with the columns `image` and `label`; thin out `train` if asked.

    Args:
        name_or_path: as for `load_splits`.
        rho: imbalance ratio given to `make_long_tailed`, for `train` only; default None leaves `train` as it is.
        profile: "exp" (default) or "step", used with rho.
        seed: seed of the long-tailed draw and of the test split, default 0.
        max_per_class: images of the largest class, used with rho; default: the largest that fits.
        image_column, label_column, config_name: as for `load_splits`.
        test_fraction: where there is no test split, the share of each class of `train` to cut one from, before it is
            thinned out (`stratified_split`); default 0, none. A split called validation, val or valid serves as test
            where there is no test.
        source: `train_list`, `test_list` and `class_from` of `load_splits`.

    Returns:
        Splits `train` and `test`; `image` an Image, `label` a ClassLabel in the data set's own order.

    Raises:
        ValueError: a seed below 0, max_per_class without rho, or as `make_long_tailed` and `stratified_split`.
        DataError: one line on what cannot be loaded, which split or column is missing, and what to do.
    """
    if not 0 <= seed < 2**32:
        raise ValueError(f"the seed of the splits must lie in [0, 2**32), got {seed}")
    if rho is None and max_per_class is not None:
        raise ValueError("max_per_class is used with rho only; give rho, 1 for a balanced subset")
    splits = load_splits(name_or_path, image_column, label_column, config_name, **source)
    if "test" not in splits and not test_fraction:
        raise DataError(
            f"'{name_or_path}' has no test split (splits present: train); cut one with --test_fraction 0.2"
        )
    if "test" in splits and test_fraction:
        raise DataError(f"'{name_or_path}' has a test split; leave out --test_fraction")
    if "test" not in splits:
        splits["train"], splits["test"] = stratified_split(splits["train"], test_fraction, seed=seed)
    if rho is not None:
        splits["train"] = make_long_tailed(splits["train"], rho, profile, seed=seed, max_per_class=max_per_class)
    return splits


def load_splits(
    name_or_path: str,
    image_column: str | None = None,
    label_column: str | None = None,
    config_name: str | None = None,
    train_list: str | None = None,
    test_list: str | None = None,
    class_from: str = "path",
) -> DatasetDict:
    """Load `train`, and `test` where the data have one, as they are: nothing is cut or thinned out.

    Args:
        name_or_path: "digits" (embedded), a Hub id, a local folder that `datasets.load_dataset` reads (parquet and
            the like), a tree of image files in class folders (see `read_image_tree`), or a folder of images that
            lists name (see `read_image_lists`).
        image_column: default: the only Image column; of lists see `read_list`.
        label_column: default: the only ClassLabel column, else one called "label", "labels" or "cls"; of a column of
            objects one of their entries, such as "json.class".
        config_name: configuration of a Hub data set that has several.
        train_list, test_list: files that list the images, see `image_list_files`.
        class_from: class of nested class folders, see `read_image_tree`; "path" (default) for all other data.

    Returns:
        `train` and perhaps `test`, with the columns `image`, an Image, and `label`, a ClassLabel in the data set's own
        order. Classes of a string column are sorted, those of an integer column are "0" .. "C-1".

    Raises:
        DataError: as `load_long_tailed`.
    """
    files = image_list_files(name_or_path, train_list, test_list)
    if files is None:
        splits = _train_and_test(_read(name_or_path, config_name, class_from), name_or_path)
        splits = image_and_label(splits, name_or_path, image_column, label_column)
    elif config_name is not None:
        raise DataError(f"'{name_or_path}' has no configurations; leave out '{config_name}'")
    else:
        _refuse_class_from(class_from, name_or_path)
        splits = read_image_lists(Path(name_or_path).expanduser(), files, image_column, label_column)
        check_names(splits["train"].features["label"].names)
    refuse_rows_outside(splits, _roots(name_or_path))
    return splits


def _read(name: str, config_name: str | None, class_from: str) -> DatasetDict:
    path = Path(name).expanduser()
    if name == "digits":
        _refuse_class_from(class_from, name)
    if name == "digits" or (name and os.path.isdir(path)):
        local = load_digits_dataset() if name == "digits" else read_image_tree(path, class_from)
        if local is not None:
            if config_name is not None:
                raise DataError(f"'{name}' has no configurations; leave out '{config_name}'")
            return local
        _refuse_class_from(class_from, name)
        return _prepared(str(path), config_name, name)
    if os.path.isfile(path):
        raise DataError(f"'{name}' is a file; give the folder that holds the data set")
    if _is_meant_as_path(name):
        raise DataError(f"there is no folder '{name}'; check the path")
    if name in KINDS:  # `datasets` would read the working directory
        raise DataError(f"'{name}' is a format, not a data set; give the folder of the data")
    _refuse_class_from(class_from, name)
    return _prepared(name, config_name, name)


def _refuse_class_from(class_from: str, name: str) -> None:
    """Lists, tables and the Hub have their own classes."""
    if class_from != "path":
        raise DataError(
            f"'{name}' is not read from class folders, which class_from {class_from} is for; leave it out, or set it "
            "to path"
        )


def _prepared(source: str, config_name: str | None, name: str) -> DatasetDict:
    try:
        read = load_stored if os.path.isdir(source) else load_hub
        return read(source, config_name)
    except DataError:
        raise
    except Exception as error:  # each format's reader raises errors of its own
        # A failed generation says only that it failed; what went wrong is in its cause.
        told = error.__cause__ if isinstance(error, DatasetsError) and error.__cause__ else error
        reason = " ".join(str(told).split()).rstrip(".") or type(told).__name__
        advice = "check its files" if os.path.isdir(source) else "check the name, the network or give a local folder"
        raise DataError(f"cannot load '{name}': {reason}; {advice}") from error


def _is_meant_as_path(name: str) -> bool:
    """A Hub id is "name" or "owner/name"; what is not, or starts with a folder that exists here, is a path."""
    if name.startswith(".") or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        return True
    return "/" in name and os.path.isdir(os.path.dirname(name))


def _roots(name: str) -> list[str | Path]:
    """Where images may lie that rows name: in the data's folder, those of the Hub in its caches."""
    path = Path(name).expanduser()
    return [path] if os.path.isdir(path) else hub_caches()


def _train_and_test(splits: DatasetDict, name: str) -> DatasetDict:
    if "train" not in splits:
        raise DataError(f"'{name}' has no split 'train'; splits present: {', '.join(splits)}")
    test = next((split for split in TEST_SPLITS if split in splits), None)
    unused = [split for split in splits if split not in ("train", test)]
    if unused:
        logger.warning("'%s': splits that are not used: %s", name, ", ".join(unused))
    return DatasetDict({"train": splits["train"]} | ({"test": splits[test]} if test else {}))
