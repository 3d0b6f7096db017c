"""Where the files of a data set lead: never outside of its folder, by links, by `..` or by absolute paths in lists."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, DatasetDict, Image

from ..errors import DataError

ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:")  # one letter is a drive
AT_A_TIME = 2**14  # paths that are Python's at once
INSIDE = "nothing outside of the data folder is read; copy it in, or take the row out"


def refuse_outside(path: str, roots: Sequence[str], told: str) -> None:
    """Refuse a path that leads elsewhere than below one of some folders.

    Args:
        path: of a file, which need not exist.
        roots: folders, with all their links resolved.
        told: where the path stands, for the message.

    Raises:
        DataError: it leads elsewhere, or is no path of this machine.
    """
    if ADDRESS.match(path) or "\0" in path:
        raise DataError(f"{told}: {path} is no file of the data set; {INSIDE}")
    real = os.path.realpath(path)
    if not any(real == root or real.startswith(root.rstrip(os.sep) + os.sep) for root in roots):
        raise DataError(f"{told} leads to {real}; {INSIDE}")


def refuse_rows_outside(splits: DatasetDict, roots: Iterable[str | Path], column: str = "image") -> None:
    """`refuse_outside` of every row whose image is a path; rows that hold their bytes pass.

    Args:
        splits: data sets with an Image column.
        roots: the data folder, or the folders of the caches where the data are the Hub's.
        column: the Image column.

    Raises:
        DataError: the first such row.
    """
    roots = [os.path.realpath(root) for root in roots]
    inside = set()  # folders that were seen to be inside
    for split, dataset in splits.items():
        for row, path in image_paths(dataset, column):
            parent = os.path.dirname(path)
            if parent in inside and not os.path.islink(path) and os.path.basename(path) != os.pardir:
                continue
            refuse_outside(path, roots, f"{split}, row {row}: image {path}")
            if not os.path.islink(path):
                inside.add(parent)


def image_paths(dataset: Dataset, column: str = "image") -> Iterator[tuple[int, str]]:
    """Row and path of each image that is a file rather than bytes; nothing is opened."""
    bytes_, paths = image_fields(dataset, column)
    rows = pc.indices_nonzero(pc.and_(pc.is_null(bytes_), pc.is_valid(paths)))
    for start in range(0, len(rows), AT_A_TIME):
        part = rows.slice(start, AT_A_TIME)
        yield from zip(part.to_pylist(), paths.take(part).to_pylist(), strict=True)


def image_fields(dataset: Dataset, column: str = "image") -> tuple[pa.Array, pa.Array]:
    """(N,) sizes in bytes of the images that are stored as bytes, null for others; (N,) paths or null.

    The bytes themselves are neither read nor copied.
    """
    stored = dataset.data.column(column)
    if not isinstance(dataset.features[column], Image) or not pa.types.is_struct(stored.type):
        raise DataError(f"column '{column}' holds no images")
    sizes = pc.binary_length(pc.struct_field(stored, "bytes"))
    paths = pc.struct_field(stored, "path")
    if dataset._indices is not None:
        rows = dataset._indices.column(0)
        sizes, paths = sizes.take(rows), paths.take(rows)
    return sizes.combine_chunks(), paths.combine_chunks()
