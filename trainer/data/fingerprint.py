"""A fingerprint of images that changes where files are replaced, and takes seconds for a million of them."""

import hashlib
import os
from pathlib import Path

import numpy as np
from datasets import Dataset

from ..errors import DataError
from .places import image_fields


def images_fingerprint(dataset: Dataset, folder: str | os.PathLike | None = None) -> str:
    """SHA-256 of the name and the size in bytes of each image, in row order; no image is read.

    A million files take about 5 seconds where the system has their sizes in memory (measured on 200,000). An image
    that another one of just the same size replaces is not noticed.

    Args:
        dataset: with an Image column `image`, of files or of bytes.
        folder: the data folder; names of files are taken from there on, however its path is spelled. Default: none.

    Raises:
        DataError: a file is gone.
    """
    stored, paths = image_fields(dataset)
    sizes = np.array(stored.fill_null(-1))
    paths = paths.to_pylist()
    spellings = () if folder is None else (Path(folder).absolute(), os.path.realpath(folder))  # both occur in rows
    starts = [os.path.join(spelling, "") for spelling in spellings]
    digest = hashlib.sha256()
    for row in np.flatnonzero(sizes < 0):
        path = paths[row]
        if path is None:
            continue
        try:
            sizes[row] = os.stat(path).st_size
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror})") from error
        name = next((path[len(start) :] for start in starts if path.startswith(start)), path)
        digest.update(os.fsencode(name) + b"\0")
    digest.update(np.asarray(sizes, dtype=np.int64).tobytes())
    return digest.hexdigest()
