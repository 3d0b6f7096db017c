"""Trees of image files: `train/<class>/*.png` and `test/<class>/*.png`, or class folders alone, of any depth.

`datasets`' own imagefolder is not used for them: it drops files with odd extensions without a word, gives up labels
where folders differ in depth, and takes class folders called "test" or "train_car" for splits.
"""

import logging
import os
from pathlib import Path

from datasets import ClassLabel, Dataset, DatasetDict, Features, Image
from PIL import Image as PILImage

from ..errors import DataError
from .places import refuse_outside

logger = logging.getLogger(__name__)

SPLIT_FOLDERS = ("train", "test", "validation", "val", "valid")
MEANT_AS_SPLITS = {"training": "train", "testing": "test", **{name: name for name in SPLIT_FOLDERS}}
LISTS = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
NOT_DATA = ("Thumbs.db", *LISTS)


def read_image_tree(root: Path, class_from: str = "path") -> DatasetDict | None:
    """Read a tree of class folders; images stay files and are not opened.

    A class folder has images and no folders; folders above it only hold folders. Classes are those of `train` in
    sorted order (as strings, so "10" comes before "2"), in every split. Rows are sorted by class, then by folder and
    file name. Hidden files, metadata.* and Thumbs.db are passed over; hidden folders with images too, with a warning.

    Args:
        root: holds split folders (train, test, validation, val or valid) of class folders, or class folders directly,
            which then are the split `train`.
        class_from: "path" (default): a class is the path of its folder, such as "birds/heron"; "folder": the last part
            of it, "heron", so folders of one name are one class.

    Returns:
        Splits with the columns `image` and `label`; None where `root` is not such a tree.

    Raises:
        DataError: a file that is not an image, images beside folders, an image outside the class folders, a train
            class without images, one class alone, a class of another split that `train` lacks, a folder "Train" for
            "train", a link that is broken or leads out of `root`, a name that is not UTF-8; with the path.
    """
    try:
        split_roots = _split_roots(root)
        return None if split_roots is None else _read_splits(split_roots, root, class_from)
    except OSError as error:
        raise DataError(f"{error.filename or root} cannot be read ({error.strerror})") from error


def visible_images(root: Path) -> list[str]:
    """All image files below a folder, hidden ones left out, in no order; links to folders are not followed."""
    found = []
    for parent, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [os.path.join(parent, name) for name in files if _is_image(name)]
    return found


def _read_splits(split_roots: dict[str, Path], root: Path, class_from: str) -> DatasetDict:
    folders = {split: _class_folders(split_root, root, class_from) for split, split_root in split_roots.items()}
    names = sorted(folders["train"])
    if len(names) == 1:
        raise DataError(
            f"{split_roots['train']}: one class folder ({names[0]}) leaves nothing to tell apart; add another class"
        )
    label_of = {name: label for label, name in enumerate(names)}
    features = Features({"image": Image(), "label": ClassLabel(names=names)})
    splits = {}
    for split, by_class in folders.items():
        images, labels = [], []
        for name, places in sorted(by_class.items()):
            if name not in label_of:
                raise DataError(f"{places[0]}: {split} has class '{name}', train has not; add it there or remove it")
            files = [file for place in places for file in _image_files(place, root)]
            if split == "train" and not files:
                raise DataError(f"{places[0]}: class '{name}' has no train image; add images or remove the folder")
            images += files
            labels += [label_of[name]] * len(files)
        splits[split] = Dataset.from_dict({"image": images, "label": labels}, features=features)
    return DatasetDict(splits)


def _class_folders(split_root: Path, root: Path, class_from: str) -> dict[str, list[Path]]:
    """The folders of each class: those that hold no folders."""
    _refuse_loose_images(split_root)
    found: dict[str, list[Path]] = {}
    waiting = [(folder, {os.path.realpath(split_root)}) for folder in reversed(_folders(split_root, root))]
    while waiting:
        folder, above = waiting.pop()
        if (real := os.path.realpath(folder)) in above:
            raise DataError(f"{folder}: a link to a folder that it lies in; remove it")
        inner = _folders(folder, root)
        if inner:
            _refuse_files_beside(folder, inner[0], root)
            _tell_of_hidden_folders(folder)
            waiting += [(path, above | {real}) for path in reversed(inner)]
        else:
            name = folder.name if class_from == "folder" else folder.relative_to(split_root).as_posix()
            found.setdefault(name, []).append(folder)
    return found


def _split_roots(root: Path) -> dict[str, Path] | None:
    """The folder of each split, or None where this is not a tree of class folders."""
    if any(root.glob("*.parquet")) or any(root.glob("*/*-of-*.parquet")):
        return None
    _refuse_other_spellings(root)
    train = root / "train"
    by_split = train.is_dir() and _folders(train, root)
    top = train if by_split else root
    classes = _folders(top, root)
    if not classes or all(folder.name in SPLIT_FOLDERS for folder in classes):
        # {train, test} of flat files with a list is imagefolder's other layout, not two classes.
        if train.is_dir() and not any((place / name).exists() for place in (root, train) for name in LISTS):
            _refuse_loose_images(train)
        return None
    if not any(_is_image(path.name) for folder in classes for path in folder.rglob("*")):
        return None
    if len(classes) == 1 and _is_for_datasets(top, classes[0], root):
        return None
    _tell_of_hidden_folders(top)
    if not by_split:
        _refuse_splits_of_other_names(root)
        return {"train": root}
    _refuse_loose_images(root)
    others = [folder.name for folder in _folders(root, root) if folder.name not in SPLIT_FOLDERS]
    if others:
        logger.warning("%s: folders beside 'train' that are no split are not read: %s", root, ", ".join(others))
    return {name: root / name for name in SPLIT_FOLDERS if (root / name).is_dir()}


def _is_for_datasets(top: Path, alone: Path, root: Path) -> bool:
    """All folders lie in one, which also holds split folders or a list: layouts of `datasets`' imagefolder."""
    if not _folders(alone, root):
        return False
    if any((place / name).is_file() for place in (root, top) for name in LISTS):
        return True
    for _, folders, files in os.walk(alone):
        folders[:] = [name for name in folders if not name.startswith(".")]
        has_splits = top == root and any(name.lower() in MEANT_AS_SPLITS for name in folders)
        if has_splits or any(name in LISTS for name in files):
            return True
    return False


def _refuse_other_spellings(root: Path) -> None:
    """Folders of a split that is called "Train"; a class may be called so, but then it holds no folders."""
    for folder in _folders(root, root):
        split = folder.name.lower()
        if split in SPLIT_FOLDERS and folder.name != split and _folders(folder, root):
            raise DataError(f"{folder}: the folder of this split is called '{split}'; rename it")


def _refuse_splits_of_other_names(root: Path) -> None:
    """Where no folder is called "train", "training/cat" and "test/cat" would be two classes."""
    for folder in _folders(root, root):
        split = MEANT_AS_SPLITS.get(folder.name.lower())
        if split is not None and _folders(folder, root):
            raise DataError(
                f"{folder}: a folder of class folders; if it is a split, call it '{split}', beside 'train'; if it is "
                "none, rename it"
            )


def _folders(parent: Path, root: Path) -> list[Path]:
    """The visible folders; a class that is a broken link would be lost, so links are checked."""
    found = []
    for entry in os.scandir(parent):
        if not entry.name.startswith("."):
            _check_entry(entry, root)
            if entry.is_dir():
                found.append(Path(entry.path))
    return sorted(found)


def _check_entry(entry: os.DirEntry, root: Path) -> None:
    try:
        entry.name.encode()
    except UnicodeEncodeError as error:
        shown = os.fsencode(entry.path).decode(errors="backslashreplace")
        raise DataError(f"{shown}: the name is not UTF-8; rename it") from error
    if entry.is_symlink():
        refuse_outside(entry.path, [os.path.realpath(root)], f"{entry.path}: the link")
        if not os.path.exists(entry.path):
            raise DataError(f"{entry.path}: the link leads nowhere; mend or remove it")


def _tell_of_hidden_folders(parent: Path) -> None:
    hidden = sorted(path for path in parent.iterdir() if path.is_dir() and path.name.startswith("."))
    lost = [path.name for path in hidden if any(_is_image(inner.name) for inner in path.rglob("*"))]
    if lost:
        logger.warning("%s: hidden folders are no classes, their images are not read: %s", parent, ", ".join(lost))


def _is_image(name: str) -> bool:
    suffixes, suffix = PILImage.registered_extensions(), os.path.splitext(name)[1].lower()
    return not name.startswith(".") and (suffixes.get(suffix) in PILImage.OPEN or suffix == ".npy")


def _refuse_loose_images(parent: Path) -> None:
    loose = next((path for path in sorted(parent.iterdir()) if _is_image(path.name) and not path.is_dir()), None)
    if loose is not None:
        raise DataError(f"{loose}: an image outside the class folders has no class; move it into one or remove it")


def _image_files(folder: Path, root: Path) -> list[str]:
    """Absolute paths in the order of their names."""
    files, others = [], []
    for entry in _entries(folder, root):
        (files if _is_image(entry.name) and entry.is_file() else others).append(entry.path)
    if others:
        raise DataError(
            f"{others[0]}: not an image file, so it would be lost ({len(others)} such in its class folder); "
            "convert, rename or move it away"
        )
    return files


def _refuse_files_beside(folder: Path, inner: Path, root: Path) -> None:
    """A folder has images or folders; of both one would be lost."""
    files = [entry for entry in _entries(folder, root) if not entry.is_dir()]
    if any(_is_image(entry.name) for entry in files):
        raise DataError(
            f"{inner}: a folder inside a class folder, so it would be lost; keep images in the innermost folders "
            "alone, or class folders flat, in folders 'train' and 'test' or directly in the data folder"
        )
    if files:
        raise DataError(f"{files[0].path}: not an image file, so it would be lost; rename it or move it away")


def _entries(folder: Path, root: Path) -> list[os.DirEntry]:
    """What is in a class folder or above one, in the order of names, without what is passed over."""
    found = sorted(os.scandir(folder.absolute()), key=lambda entry: entry.name)
    found = [entry for entry in found if not entry.name.startswith(".") and entry.name not in NOT_DATA]
    for entry in found:
        _check_entry(entry, root)
    return found
