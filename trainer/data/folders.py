"""Trees of image files: `train/<class>/*.png` and `test/<class>/*.png`, or class folders alone.

`datasets`' own imagefolder is not used for them: it drops files with odd extensions without a word, gives up labels
where folders differ in depth, and takes class folders called "test" or "train_car" for splits.
"""

import logging
from pathlib import Path

from datasets import ClassLabel, Dataset, DatasetDict, Features, Image
from PIL import Image as PILImage

from ..errors import DataError

logger = logging.getLogger(__name__)

SPLIT_FOLDERS = ("train", "test", "validation", "val", "valid")
NOT_DATA = ("Thumbs.db", "metadata.csv", "metadata.jsonl", "metadata.parquet")


def read_image_tree(root: Path) -> DatasetDict | None:
    """Read a tree of class folders; images stay files and are not opened.

    Classes are the folder names of `train` in sorted order (as strings, so "10" comes before "2"), in every split.
    Rows are sorted by class, then by file name. Hidden files, metadata.* and Thumbs.db are passed over.

    Args:
        root: holds split folders (train, test, validation, val or valid) of class folders, or class folders directly,
            which then are the split `train`.

    Returns:
        Splits with the columns `image` and `label`; None where `root` is not such a tree.

    Raises:
        DataError: a file that is not an image, a folder inside a class folder, an image outside the class folders, a
            train class without images, or a class of another split that `train` lacks; with the path.
    """
    split_roots = _split_roots(root)
    if split_roots is None:
        return None
    names = [folder.name for folder in _folders(split_roots["train"])]
    label_of = {name: label for label, name in enumerate(names)}
    features = Features({"image": Image(), "label": ClassLabel(names=names)})
    splits = {}
    for split, split_root in split_roots.items():
        _refuse_loose_images(split_root)
        images, labels = [], []
        for folder in _folders(split_root):
            if folder.name not in label_of:
                raise DataError(
                    f"{folder}: {split} has class '{folder.name}', train has not; add it there or remove it"
                )
            files = _image_files(folder)
            if split == "train" and not files:
                raise DataError(f"{folder}: class '{folder.name}' has no train image; add images or remove the folder")
            images += files
            labels += [label_of[folder.name]] * len(files)
        splits[split] = Dataset.from_dict({"image": images, "label": labels}, features=features)
    return DatasetDict(splits)


def _split_roots(root: Path) -> dict[str, Path] | None:
    """The folder of each split, or None where this is not a tree of class folders."""
    if any(root.glob("*.parquet")) or any(root.glob("*/*-of-*.parquet")):
        return None
    train = root / "train"
    by_split = train.is_dir() and _folders(train)
    top = train if by_split else root
    classes = _folders(top)
    # {train, test} of flat files with a metadata file is imagefolder's other layout, not two classes.
    if len(classes) < 2 or all(folder.name in SPLIT_FOLDERS for folder in classes):
        return None
    if not any(_is_image(path) for folder in classes for path in folder.rglob("*")):
        return None
    if not by_split:
        return {"train": root}
    _refuse_loose_images(root)
    others = [folder.name for folder in _folders(root) if folder.name not in SPLIT_FOLDERS]
    if others:
        logger.warning("%s: folders beside 'train' that are no split are not read: %s", root, ", ".join(others))
    return {name: root / name for name in SPLIT_FOLDERS if (root / name).is_dir()}


def _folders(parent: Path) -> list[Path]:
    return sorted(path for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))


def _is_image(path: Path) -> bool:
    suffixes = PILImage.registered_extensions()
    return not path.name.startswith(".") and suffixes.get(path.suffix.lower()) in PILImage.OPEN


def _refuse_loose_images(parent: Path) -> None:
    loose = next((path for path in sorted(parent.iterdir()) if _is_image(path) and not path.is_dir()), None)
    if loose is not None:
        raise DataError(f"{loose}: an image outside the class folders has no class; move it into one or remove it")


def _image_files(folder: Path) -> list[str]:
    files, others = [], []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name in NOT_DATA:
            continue
        (files if _is_image(path) and path.is_file() else others).append(str(path.absolute()))
    if others:
        raise DataError(
            f"{others[0]}: not an image file, so it would be lost ({len(others)} such in its class folder); "
            "convert, rename or move it away, and keep class folders flat"
        )
    return files
