"""A fingerprint of images that changes where files are replaced, and takes seconds for a million of them."""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from datasets import Dataset

from ..errors import DataError
from .places import image_fields, image_paths


class Fingerprint(NamedTuple):
    """What is known of images without reading them.

    Attributes:
        images: SHA-256 of the name and the size in bytes of each image, in row order; the same on every machine.
        state: SHA-256 of that, of the data folder and of when each file was changed, on this machine; None where
            images are bytes in memory, of which nobody knows where they come from.
    """

    images: str
    state: str | None


def fingerprint(dataset: Dataset, folder: str | os.PathLike | None = None) -> Fingerprint:
    """Both digests of the images of a data set; no image is read.

    A million files take about 5 seconds where the system has their sizes in memory (measured on 200,000). An image
    that another one of just the same size replaces is noticed by `state` alone.

    Args:
        dataset: with an Image column `image`, of files or of bytes.
        folder: the data folder; names of files are taken from there on, however its path is spelled. Default: none.

    Raises:
        DataError: a file is gone.
    """
    stored, _ = image_fields(dataset)
    sizes = np.array(stored.fill_null(-1))
    times = np.zeros((len(sizes), 2), dtype=np.int64)
    are_files = bool((sizes < 0).all())
    spellings = () if folder is None else (Path(folder).absolute(), os.path.realpath(folder))  # both occur in rows
    starts = [os.path.join(spelling, "") for spelling in spellings]
    digest = hashlib.sha256()
    for row, path in image_paths(dataset):
        try:
            found = os.stat(path)
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror})") from error
        sizes[row], times[row] = found.st_size, (found.st_mtime_ns, found.st_ctime_ns)
        name = next((path[len(start) :] for start in starts if path.startswith(start)), path)
        digest.update(os.fsencode(name) + b"\0")
    digest.update(np.asarray(sizes, dtype=np.int64).tobytes())
    images = digest.hexdigest()
    place = os.path.realpath(folder) if folder is not None and os.path.isdir(folder) else ""  # a Hub id is no place
    return Fingerprint(images, _state(dataset, images, place, times, are_files))


def _state(dataset: Dataset, images: str, place: str, times: np.ndarray, are_files: bool) -> str | None:
    tables = [os.path.realpath(entry["filename"]) for entry in dataset.cache_files]
    if not are_files and not tables:
        return None
    # Times of content can be set, as unpacking does; those of the files' entries cannot.
    digest = hashlib.sha256(images.encode() + os.fsencode(place) + b"\0" + times.tobytes())
    if not are_files:  # rows of stored tables, which may be all of one size
        for table in tables:
            found = os.stat(table)
            digest.update(f"{table}|{found.st_size}|{found.st_mtime_ns}|{found.st_ctime_ns}\n".encode())
        # Of consecutive rows `datasets` makes a view without indices, which its own fingerprint alone tells apart.
        digest.update(dataset._fingerprint.encode())
    return digest.hexdigest()
