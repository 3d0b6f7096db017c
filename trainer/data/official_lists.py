"""The lists that ImageNet-LT, iNaturalist-2018 and Places-LT are published as: names, and how to know them again.

Lists of facebookresearch/classifier-balancing (data/); Places-LT also in the version of Vanint/SADE-AgnosticLT, with
the paths of the original archives. Of iNaturalist-2018 also its authors' annotations.
"""

from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import DataError
from .places import refuse_outside


class OfficialData(NamedTuple):
    """A published long-tailed data set.

    Attributes:
        name: of the data set.
        train, test: names of its lists; the paper tests on `test`.
        unused: names of lists that neither trains nor tests.
        classes, train_images, test_images: how many there are.
        counts: SHA-256 of the class counts of train, in label order, as little-endian int64.
    """

    name: str
    train: str
    test: str
    unused: tuple[str, ...]
    classes: int
    train_images: int
    test_images: int
    counts: str


INATURALIST = OfficialData(
    "iNaturalist-2018",
    "iNaturalist18_train.txt",
    "iNaturalist18_val.txt",
    (),
    8142,
    437_513,
    24_426,
    "346e4680da71ca04bece059aa857b031964c3a2d3e152f65064b2e019c0fb038",
)
OFFICIAL = (
    OfficialData(
        "ImageNet-LT",
        "ImageNet_LT_train.txt",
        "ImageNet_LT_test.txt",
        ("ImageNet_LT_val.txt",),
        1000,
        115_846,
        50_000,
        "3d8c615a8d2def22940b8c4989aa1d6454f42e93dde096f077b0dde67cd4dc08",
    ),
    INATURALIST,
    INATURALIST._replace(train="train2018.json", test="val2018.json"),
    OfficialData(
        "Places-LT",
        "Places_LT_train.txt",
        "Places_LT_test.txt",
        ("Places_LT_val.txt",),
        365,
        62_500,
        36_500,
        "e0663b33a6ba642086ead631231389a5616cc7dc5fc0eb6942ca49c619454e5a",
    ),
)
GIT_BLOBS = {  # of the lists, unpacked
    "ImageNet_LT_train.txt": ("a063f095fcd475db4cf8b0658c4b73955535bbf9",),
    "ImageNet_LT_val.txt": ("3ed3188b2f44829ce2dec1cc27040d8d40984088",),
    "ImageNet_LT_test.txt": ("76a2fb9749d6cd29e765cc4f8c270f2504131e2f",),
    "iNaturalist18_train.txt": ("4accdb7584d2f0a5106c40a33ed6afa392189bcc",),
    "iNaturalist18_val.txt": ("4c23900857fd0f5adcd4cc0dffef345039eeb05f",),
    "Places_LT_train.txt": ("6392252f8ae867bc8a5e841cc1b29e5b8ef4b636", "1d608b558c25c271da75c06f1e5e3625a4ebcb79"),
    "Places_LT_val.txt": ("b93a2ca58ccb7f3b671c176f395a70bf52c95533", "89c29c0973328f77d7a77a8b580634ce20acdc11"),
    "Places_LT_test.txt": ("e732e58b8aa718a2c1c11933375f5710652c2b93", "d43400ac9bc2275baa058456da40b20abb50b108"),
}
STORED = ("*.parquet", "*/*-of-*.parquet", "dataset_dict.json", "metadata.*", "*/metadata.*")


def find_official(root: Path) -> tuple[Path, Path | None] | None:
    """The official lists that lie in a data folder.

    Args:
        root: the data folder.

    Returns:
        Those of train and test, the latter None where it is missing; None where there are no official lists.

    Raises:
        DataError: there are lists of several data sets, a list twice, one of test alone, a stored data set beside, or
            a list is a link that leads out of the folder.
    """
    found = [(data, files) for data in OFFICIAL if (files := _files(root, data))]
    if len(found) == 2 and {data.name for data, _ in found} == {INATURALIST.name}:
        found = found[:1]  # its annotations come with its images; the lists were put there on purpose
    if not found:
        return None
    if len(found) > 1:
        names = " and ".join(data.name for data, _ in found)
        raise DataError(f"'{root}' holds lists of {names}; name one by --train_list and --test_list")
    data, files = found[0]
    if data.train not in files:
        shown = ", ".join(path.name for path in files.values())
        raise DataError(f"'{root}' holds {shown} without {data.train}; put it beside")
    stored = next((path for pattern in STORED for path in sorted(root.glob(pattern))), None)
    if stored is not None:
        raise DataError(
            f"'{root}' holds {files[data.train].name} and {stored.relative_to(root)}, two data sets; name the list by "
            "--train_list, or move one away"
        )
    for file in files.values():
        refuse_outside(str(file), [os.path.realpath(root)], f"{file}: the list")
    return files[data.train], files.get(data.test)


def _files(root: Path, data: OfficialData) -> dict[str, Path]:
    """The lists of one data set that are there, by their official names."""
    found = {}
    for name in (data.train, data.test, *data.unused):
        present = [path for path in (root / name, root / f"{name}.gz") if path.is_file()]
        if len(present) == 2:
            raise DataError(f"'{root}' holds {name} and {name}.gz; remove one")
        if present:
            found[name] = present[0]
    return found if data.train in found or data.test in found else {}


def known_data(counts: np.ndarray, test_images: int, files: list[Path]) -> OfficialData | None:
    """Which of the published data sets images are meant to be, by the names of their lists, else by their counts.

    Args:
        counts: (C,) training images per class.
        test_images: of the test split.
        files: lists that were read.
    """
    names = {file.name.removesuffix(".gz") for file in files}
    by_name = next((data for data in OFFICIAL if {data.train, data.test} & names), None)
    sizes = (len(counts), int(np.sum(counts)), test_images)
    by_size = (data for data in OFFICIAL if (data.classes, data.train_images, data.test_images) == sizes)
    return by_name or next(by_size, None)


def official_problems(data: OfficialData, counts: np.ndarray, test_images: int, files: list[Path]) -> list[str]:
    """Where images are not those that were published, a line each; nothing where they are.

    Args:
        data: from `known_data`.
        counts, test_images, files: as there.
    """
    counts = np.asarray(counts)
    found = (len(counts), int(counts.sum()), test_images)
    problems = [
        f"{data.name} has {published:,} {what}, here are {here:,}"
        for what, here, published in zip(
            ("classes", "training images", "test images"),
            found,
            (data.classes, data.train_images, data.test_images),
            strict=True,
        )
        if here != published
    ]
    if not problems and hashlib.sha256(counts.astype("<i8").tobytes()).hexdigest() != data.counts:
        problems.append(f"the training images per class are not those of {data.name}, or in another order of classes")
    for file in files:
        known = GIT_BLOBS.get(file.name.removesuffix(".gz"))
        if known is not None and git_blob(file) not in known:
            problems.append(f"{file} is not the published list (git blob {git_blob(file)}, published {known[0]})")
    return problems


def git_blob(file: Path) -> str:
    """The id that git gives the content of a file, unpacked where it ends in .gz."""
    content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
