"""Where the images of a list lie: the folders as ImageNet, iNaturalist and Places unpack, found by a few probes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import DataError

PROBES = 8
SHOWN = 12
FLAT = ("^val/.*/", "val/")
IMAGENET = [[("^", "ILSVRC/Data/CLS-LOC/")], [("^", "Data/CLS-LOC/")]]
# By the first folder of a list's paths: rewritings that are tried in this order, each of (pattern, replacement)s.
LAYOUTS = {
    "train": [
        [],
        *IMAGENET,
        [("^", "places365_standard/")],
        [("^train/(.)([^/-]*)", r"data_256/\1/\1\2"), ("^(data_256/[^-]*)-([^/]*/)", r"\1/\2")],
    ],
    "val": [
        [],
        [FLAT],
        *IMAGENET,
        *([FLAT, *steps] for steps in IMAGENET),
        [("^", "places365_standard/")],
        [("^val/.*/", "val_256/")],
    ],
    "train_val2018": [[], [("^train_val2018/", "")]],
}
# Places-LT's second version, spelled as the first: data_256/a/arena/rodeo/x.jpg is train/arena-rodeo/x.jpg.
SECOND_PLACES = [
    ("^data_256/./([^/]+)/([^/]+)/([^/]+)$", r"train/\1-\2/\3"),
    ("^data_256/./([^/]+)/([^/]+)$", r"train/\1/\2"),
]


def with_known_folders(paths: pa.Array, labels: pa.Array, names: list[str] | None) -> pa.Array:
    """Paths of the second version of Places-LT as those of the first, others as they are.

    Args:
        paths: (N,) of a list.
        labels: (N,) class numbers, for images that lie in no folder of their class.
        names: (C,) folders of the classes, or None where they are not known.
    """
    paths = rewritten(paths, SECOND_PLACES)
    flat = pc.starts_with(paths, "val_256/")
    if names is None or not pc.any(flat).as_py():
        return paths
    folders = pa.array(names).take(labels)
    moved = pc.binary_join_element_wise("val", folders, pc.replace_substring_regex(paths, "^val_256/", ""), "/")
    return pc.if_else(flat, moved, paths)


def rewritten(paths: pa.Array, steps: list[tuple[str, str]]) -> pa.Array:
    """Paths after some replacements, one after another."""
    for pattern, replacement in steps:
        paths = pc.replace_substring_regex(paths, pattern, replacement, max_replacements=1)
    return paths


def located(paths: pa.Array, root: Path, file: Path) -> pa.Array:
    """The paths as the data folder has them; only a few of them are looked for.

    Args:
        paths: (N,) of a list, below the data folder.
        root: the data folder, absolute.
        file: the list, for messages.

    Returns:
        (N,) absolute paths.

    Raises:
        DataError: none of the known layouts fits; with what was expected and what is there.
    """
    first = pc.replace_substring_regex(paths, "/.*", "")
    for top, candidates in LAYOUTS.items():
        mask = pc.equal(first, top)
        rows = pc.indices_nonzero(mask)
        if len(rows):
            steps = _layout(paths.take(rows), candidates, root, file)
            if steps:
                paths = pc.if_else(mask, rewritten(paths, steps), paths)
    others = paths.filter(pc.invert(pc.is_in(first, value_set=pa.array(list(LAYOUTS)))))
    if len(others):
        _layout(others, [[]], root, file)
    start = os.path.join(root, "")
    return pc.if_else(pc.starts_with(paths, "/"), paths, pc.binary_join_element_wise(start, paths, ""))


def probe_rows(count: int) -> list[int]:
    """Rows that are looked for, spread over a list."""
    return sorted(set(np.linspace(0, count - 1, PROBES).astype(int).tolist()))


def _layout(paths: pa.Array, candidates: list[list], root: Path, file: Path) -> list[tuple[str, str]]:
    """The rewriting by which most of some probes are there, the first of several."""
    probes = paths.take(pa.array(probe_rows(len(paths))))
    names = [rewritten(probes, steps).to_pylist() for steps in candidates]
    found = [sum(_is_there(root, name) for name in tried) for tried in names]
    if not any(found):
        expected = " or ".join(dict.fromkeys(os.path.join(root, tried[0]) for tried in names))
        present = sorted(os.listdir(root))
        shown = ", ".join(present[:SHOWN]) + (", ..." if len(present) > SHOWN else "")
        raise DataError(
            f"{file}: its images are not where it says; expected {expected}; {root} holds: {shown}; name the folder "
            "that these paths begin in"
        )
    return candidates[found.index(max(found))]


def _is_there(root: Path, name: str) -> bool:
    try:
        return os.path.lexists(os.path.join(root, name))
    except ValueError:  # of a null byte, which is refused where rows are
        return False
