"""The files of a folder that `datasets` reads (parquet, arrow, lists of images), looked at before and after."""

import os
from collections.abc import Iterator

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import DatasetDict, Features, Image

from ..errors import DataError
from .folders import LISTS, visible_images
from .labels import class_difference
from .places import image_paths, refuse_outside, refuse_rows_outside

KINDS = ("parquet", "arrow", "imagefolder", "csv", "json", "webdataset")
ARCHIVES = (".zip", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".7z", ".rar")


def load_stored(folder: str, config_name: str | None) -> DatasetDict:
    """Read a folder by `datasets.load_dataset`; nothing outside of it is read, and nothing in it is run.

    Args:
        folder: of parquet, arrow, CSV or JSON files, WebDataset shards, or images with metadata.csv and the like.
        config_name: one of the configurations that its README.md defines.

    Raises:
        DataError: a file that lies elsewhere, an archive, splits whose classes differ, images that no list names.
        Exception: whatever the reader of a format raises on broken files.
    """
    if os.path.isfile(os.path.join(folder, datasets.config.DATASET_STATE_JSON_FILENAME)):
        raise DataError(f"'{folder}' is one saved data set without splits; save a DatasetDict with 'train' and 'test'")
    _refuse_archives(folder)
    builder = datasets.load_dataset_builder(folder, config_name)
    files = {str(split): list(paths) for split, paths in (builder.config.data_files or {}).items()}
    if builder.name not in KINDS or not any(files.values()):
        raise DataError(f"'{folder}' holds no class folders and no data set of images; check the folder")
    root = os.path.realpath(folder)
    for path in (path for paths in files.values() for path in paths):
        refuse_outside(path, [root], f"'{folder}': the data file {path}")
    _refuse_other_columns(files, builder.name)
    splits = datasets.load_dataset(folder, config_name)
    if builder.name == "imagefolder":
        _refuse_left_out(splits, folder, root)
    return splits


def _refuse_archives(folder: str) -> None:
    """The members of plain .tar files are WebDataset's: they are read one by one, and never unpacked."""
    for parent, _, names in os.walk(folder):
        for name in sorted(names):
            if name.lower().endswith(ARCHIVES):
                raise DataError(
                    f"{os.path.join(parent, name)}: archives are not opened, since their members may lead out of the "
                    "folder; unpack it or move it away"
                )


def _refuse_other_columns(files: dict[str, list[str]], kind: str) -> None:
    """`datasets` gives all files the columns and classes of the first, whatever their own are."""
    first, known = None, Features()
    for path, schema in _schemas(files, kind):
        features = Features.from_arrow_schema(schema)
        if first is None:
            first, known = path, features
        if set(features) != set(known):
            raise DataError(
                f"{path} has the columns {', '.join(features)} where {first} has {', '.join(known)}; give both the "
                "same"
            )
        for column, feature in features.items():
            names = [getattr(each, "names", None) for each in (feature, known[column])]
            if None not in names and (detail := class_difference(*names, whose="the other")) is not None:
                raise DataError(
                    f"{path}: the classes of column '{column}', or their order, differ from those of {first}: "
                    f"{detail}; encode both together"
                )


def _schemas(files: dict[str, list[str]], kind: str) -> Iterator[tuple[str, pa.Schema]]:
    for path in (path for paths in files.values() for path in paths):
        if kind == "parquet":
            yield path, pq.read_schema(path)
        elif kind == "arrow":
            yield path, _whole_arrow(path)


def _whole_arrow(path: str) -> pa.Schema:
    """The schema of an arrow file, whose offsets are checked: wrong ones would be followed into foreign memory."""
    with pa.memory_map(path) as source:
        try:
            reader = pa.ipc.open_stream(source)
            for batch in reader:
                batch.validate(full=True)
        except pa.ArrowInvalid:
            source.seek(0)
            reader = pa.ipc.open_file(source)
            for index in range(reader.num_record_batches):
                reader.get_batch(index).validate(full=True)
        return reader.schema


def _refuse_left_out(splits: DatasetDict, folder: str, root: str) -> None:
    listed = set()
    for split, dataset in splits.items():
        for column in (name for name, feature in dataset.features.items() if isinstance(feature, Image)):
            refuse_rows_outside(DatasetDict({split: dataset}), [root], column)
            listed.update(os.path.realpath(path) for _, path in image_paths(dataset, column))
    left_out = sorted(path for path in visible_images(folder) if os.path.realpath(path) not in listed)
    if left_out:
        raise DataError(
            f"{left_out[0]}: no row names this image, so it would be lost ({len(left_out)} such); add it to "
            f"{LISTS[0]} or move it away"
        )
