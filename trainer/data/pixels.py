"""What the pixels of a data set are: channels, depth, and the mean and deviation that they are normalised by."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from datasets import Dataset, Image
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from modeling_deit_lt import read_channels

from ..errors import DataError
from ..machine import cores_per_rank
from ..terminal import counting
from .remembered import recall, remember
from .rgb import as_rgb

VERSION = 1  # of the sums; those of others are not remembered
BLOCK = 256  # rows held in memory at a time, by each worker
PIXEL_NORMALIZATIONS = ("imagenet", "data")


@dataclass(frozen=True)
class PixelFormat:
    """Pixels as networks are given them: values from 0 to 255, of which mean and deviation are counted in 255ths.

    Attributes:
        channels: C; 3 are red, green and blue.
        bits: of the values; 16-bit images that go up to 4095 have 12. Images of three channels have 8.
        mean, std: (C,) of values from 0 to 1.
    """

    channels: int = 3
    bits: int = 8
    mean: tuple[float, ...] = IMAGENET_DEFAULT_MEAN
    std: tuple[float, ...] = IMAGENET_DEFAULT_STD

    @property
    def is_rgb(self) -> bool:
        """Whether Pillow and its transforms work on them."""
        return self.channels == 3

    @property
    def size(self) -> int:
        """Bytes of a pixel as it is augmented."""
        return self.channels * (1 if self.bits == 8 else 4)

    @property
    def mean_levels(self) -> tuple[float, ...]:
        """(C,) mean as a value from 0 to 255: of bytes, or with its fraction."""
        return tuple(255 * value if self.bits > 8 else round(255 * value) for value in self.mean)

    @property
    def in_words(self) -> str:
        """For the banner of a run."""
        what = "RGB" if self.is_rgb else f"{self.channels} channel{'s' * (self.channels > 1)} of {self.bits} bits"
        if self == RGB:
            return f"{what}, ImageNet's mean and deviation"
        shown = (", ".join(f"{value:.3f}" for value in values[:4]) for values in (self.mean, self.std))
        more = ", ..." if self.channels > 4 else ""
        return "{}, mean {}{more} and deviation {}{more} of the training images".format(what, *shown, more=more)


RGB = PixelFormat()


def blank_format(channels: int) -> PixelFormat:
    """The format of images that have not been looked at: RGB's, or one of as many channels."""
    return RGB if channels == 3 else PixelFormat(channels, 8, (0.5,) * channels, (0.5,) * channels)


def stored_channels(value: dict, channels: int) -> np.ndarray:
    """An image of a data set as it is stored.

    Args:
        value: `bytes` and `path` of a row, as `datasets` keeps them; one of them may be None.
        channels: C.

    Returns:
        (C, H, W) uint8 or uint16.

    Raises:
        ValueError: as `read_channels`.
    """
    return read_channels(value["path"] if value["bytes"] is None else value["bytes"], channels)


def pixel_format(
    train: Dataset, channels: int, num_workers: int = 1, state: str | None = None, show: bool = False
) -> PixelFormat:
    """The format of a data set by its training images, all of which are decoded.

    Mean and deviation are those of all pixels, each image counting the same whatever its size. 16-bit images are
    taken to have as many bits as the largest value of all needs, 8 at least.

    Args:
        train: rows with an Image column `image`.
        channels: C.
        num_workers: processes that decode, at most one a core. Default 1, this one.
        state: of the images, from `fingerprint`, by which the result is remembered. Default: it is not.
        show: a bar in a terminal. Default False.
    """
    key = state and hashlib.sha256(f"{VERSION}|{channels}|{state}".encode()).hexdigest()
    known = recall(key, _Sums) if key else None
    sums = known or _sums_of(train, channels, num_workers, show)
    if key and known is None:
        remember(key, sums)
    # By the kind of file, 8 or 16 bits: which value becomes 255 is known only when all have been seen.
    bits = max(8, sums.largest.bit_length())
    scales = np.array([[1 / 255], [1 / (2**bits - 1)]])
    mean = (np.array(sums.values) * scales).sum(0) / len(train)
    square = (np.array(sums.squares) * scales**2).sum(0) / len(train)
    deviations = np.sqrt(np.maximum(square - mean**2, 0))
    # A channel that is the same everywhere is left as it is.
    return PixelFormat(
        channels, bits, tuple(mean.tolist()), tuple(np.where(deviations > 1e-6, deviations, 1.0).tolist())
    )


def _sums_of(train: Dataset, channels: int, num_workers: int, show: bool) -> _Sums:
    blocks = _Moments(train, channels)
    loader = loaded_by_workers(blocks, num_workers)
    largest, totals = 0, np.zeros((2, 2, channels))
    with counting("measuring images", len(train), show) as count:
        for start, (highest, sums, wrong) in zip(range(0, len(train), BLOCK), loader, strict=True):
            if wrong is not None:
                row, path, what = wrong
                raise DataError(f"train, row {start + row}{f' ({path})' if path else ''}: {what}; replace the image")
            largest, totals = max(largest, highest), totals + np.asarray(sums)
            count(min(BLOCK, len(train) - start))
    return _Sums(largest, *totals.tolist())


def loaded_by_workers(blocks: TorchDataset, num_workers: int) -> DataLoader:
    """Blocks of rows, in order, each read by one of at most so many processes, and at most one a core."""
    num_workers = min(num_workers, cores_per_rank(), len(blocks))
    # Workers, since Pillow decodes under the interpreter lock; none for what one process does as soon as they start.
    return DataLoader(blocks, batch_size=None, num_workers=num_workers if num_workers > 1 else 0)


class _Sums(NamedTuple):
    """Over all images: the largest value of those of 16 bits; means of pixels, and of their squares, added up by depth
    and channel: [of 8 bits, of 16 bits][channel]."""

    largest: int
    values: list[list[float]]
    squares: list[list[float]]


class _Moments(TorchDataset):
    """Blocks of rows: what they add to `_Sums`, (values and squares, 2 depths, C), and the first that is wrong."""

    def __init__(self, train: Dataset, channels: int):
        self.rows, self.channels = train.select_columns(["image"]).with_format("arrow"), channels

    def __len__(self) -> int:
        return -(-len(self.rows) // BLOCK)

    def __getitem__(self, block: int) -> tuple[int, np.ndarray, tuple[int, str | None, str] | None]:
        if block >= len(self):
            raise IndexError(block)
        largest, sums = 0, np.zeros((2, 2, self.channels))
        for row, value in enumerate(self.rows[block * BLOCK : (block + 1) * BLOCK]["image"].to_pylist()):
            try:
                pixels = stored_channels(value, self.channels) if self.channels != 3 else stored_rgb(value)
            except Exception as error:  # decoders raise anything; where images were checked, nothing
                return largest, sums, (row, value and value["path"], " ".join(str(error).split()))
            deep = int(pixels.dtype == np.uint16)
            largest = max(largest, int(pixels.max())) if deep else largest
            values = pixels.reshape(self.channels, -1).astype(np.float64)
            sums[:, deep] += values.mean(1), (values**2).mean(1)
        return largest, sums, None


def stored_rgb(value: dict) -> np.ndarray:
    """(3, H, W) uint8 of an image of any kind, as training reads it."""
    return np.asarray(as_rgb(Image().decode_example(value))).transpose(2, 0, 1)
