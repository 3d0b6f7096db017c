"""Writing a data set as parquet shards, for file systems that are slow with many small files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, DatasetDict, Features, Image

from ..errors import DataError
from ..terminal import counting
from .places import image_fields, image_paths

SHARD_BYTES = 500 * 10**6
ROWS = 256  # in memory at a time, at most
BATCH_BYTES = 64 * 10**6  # of images in memory at a time, at most, or one image; arrow's binary columns end at 2 GiB
UNFINISHED = ".unfinished"


def write_parquet(
    splits: DatasetDict, out: Path, root: Path, shard_bytes: int = SHARD_BYTES, show: bool = False
) -> int:
    """Write each split as parquet files, `train-00000-of-00012.parquet` and so on; rows stay in their order.

    Images are the bytes of their files, not encoded anew; their names are their paths below `root`. `out` appears when
    it is whole: until then it is called `<out>.unfinished`. Memory does not grow with the number of rows, nor with the
    size of the images beyond that of one.

    Args:
        splits: each with the columns `image` and `label`, a ClassLabel, whose names are kept.
        out: a folder that does not exist, or an empty one.
        root: the data folder.
        shard_bytes: of images in a file, about, default 500 MB.
        show: a bar in a terminal. Default False.

    Returns:
        How many files there are.

    Raises:
        DataError: `out` holds something, a conversion that was cut off is left beside it, an image file is gone.
    """
    unfinished = out.with_name(out.name + UNFINISHED)
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise DataError(f"{out} is not an empty folder; name another one")
    if unfinished.exists():
        raise DataError(f"{unfinished} is left of a conversion that was cut off; remove it")
    sizes = {split: _bytes_of_images(split, dataset) for split, dataset in splits.items()}
    unfinished.mkdir(parents=True)
    files = 0
    with counting("writing images", sum(map(len, splits.values())), show) as count:
        for split, dataset in splits.items():
            parts = _shards(sizes[split], shard_bytes)
            for index, rows in enumerate(parts):
                name = f"{split}-{index:05}-of-{len(parts):05}.parquet"
                _write_shard(dataset, _batches(rows, sizes[split]), unfinished / name, root, count)
            files += len(parts)
    os.replace(unfinished, out)
    return files


def _bytes_of_images(split: str, dataset: Dataset) -> np.ndarray:
    """(N,) bytes of each image."""
    stored, _ = image_fields(dataset)
    sizes = np.array(stored.fill_null(0))
    for row, path in image_paths(dataset):
        try:
            sizes[row] = os.stat(path).st_size
        except OSError as error:
            raise DataError(
                f"{split}, row {row}: {path} cannot be read ({error.strerror}); `deit-lt check-data` lists all that "
                "are missing"
            ) from error
    return sizes


def _shards(sizes: np.ndarray, shard_bytes: int) -> list[range]:
    """Rows of each file: one after another, about equally many bytes."""
    ends = np.cumsum(sizes, dtype=np.int64)
    count = max(1, round(int(ends[-1]) / shard_bytes)) if len(ends) else 1
    cuts = np.searchsorted(ends, ends[-1] * np.arange(1, count) / count) if len(ends) else []
    edges = np.unique([0, *cuts, len(sizes)]).tolist() if len(ends) else [0, 0]
    return [range(*pair) for pair in pairwise(edges)]


def _batches(rows: range, sizes: np.ndarray) -> Iterator[range]:
    """Rows of a file that are in memory together: at most ROWS, and at most BATCH_BYTES or one image."""
    start = rows.start
    while start < rows.stop:
        ends = np.cumsum(sizes[start : min(start + ROWS, rows.stop)], dtype=np.int64)
        stop = start + max(1, int(np.searchsorted(ends, BATCH_BYTES, side="right")))
        yield range(start, stop)
        start = stop


def _write_shard(
    dataset: Dataset, batches: Iterable[range], file: Path, root: Path, count: Callable[[int], object]
) -> None:
    features = Features({"image": Image(), "label": dataset.features["label"]})
    schema, stored = features.arrow_schema, dataset.with_format("arrow")
    # Files of images are packed already, and the smallest and largest of them, as bytes, mean nothing.
    with pq.ParquetWriter(file, schema, compression="none", use_dictionary=False, write_statistics=False) as writer:
        for rows in batches:
            writer.write_table(_table(stored, rows, root, schema))
            count(len(rows))


def _table(stored: Dataset, rows: range, root: Path, schema: pa.Schema) -> pa.Table:
    starts = tuple(os.path.join(place, "") for place in (root.absolute(), os.path.realpath(root)))
    part = stored[rows.start : rows.stop]
    images = [_with_bytes(image, starts) for image in part["image"].to_pylist()]
    columns = [pa.array(images, schema.field("image").type), part["label"].combine_chunks()]
    return pa.Table.from_arrays(columns, schema=schema)


def _with_bytes(image: dict | None, starts: tuple[str, ...]) -> dict | None:
    if image is None or image["path"] is None:
        return image
    content = image["bytes"] if image["bytes"] is not None else Path(image["path"]).read_bytes()
    name = next((image["path"][len(start) :] for start in starts if image["path"].startswith(start)), image["path"])
    return {"bytes": content, "path": name}
