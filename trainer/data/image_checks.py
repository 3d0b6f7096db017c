"""A look at every image before training, so that a run does not end hours later at one broken file."""

from __future__ import annotations

import io
import logging
import warnings
from functools import reduce
from typing import NamedTuple

import numpy as np
from datasets import Dataset, DatasetDict, Image
from PIL import Image as PILImage
from PIL import UnidentifiedImageError
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from ..errors import DataError
from ..machine import cores_per_rank
from .pixels import stored_channels
from .rgb import SMALL_PART, as_rgb, is_sixteen_bits, unknown_range, wrong_header

logger = logging.getLogger(__name__)

BATCH = 256  # rows held in memory at a time, by each worker
DARK = 16  # of 256: what is left of 12 bits in 16


class Seen(NamedTuple):
    """The largest values of images, None where there are none or where it does not matter any more.

    Attributes:
        largest_of_16_bits: of grey images of 16 bits.
        largest_of_8_bits: of others, in RGB.
    """

    largest_of_16_bits: int | None = None
    largest_of_8_bits: int | None = None

    def with_those(self, other: Seen) -> Seen:
        """The same of both."""
        return Seen(*(max((v for v in pair if v is not None), default=None) for pair in zip(self, other, strict=True)))


def check_images(
    dataset: Dataset, image_column: str = "image", num_workers: int = 1, split: str = "train", channels: int = 3
) -> None:
    """Decode every image once, exactly as reading the row would.

    One process takes about 0.3 ms for a CIFAR image (60,000: 17 s) and 2 ms for a 500 x 400 JPEG.

    Args:
        dataset: a `datasets.Dataset` with an Image column.
        image_column: the Image column.
        num_workers: processes that decode, at most one a core; default 1, this one.
        split: the split's name, for messages.
        channels: that an image must have. Default 3: RGB, which all of 8 bits become.

    Raises:
        DataError: the first image, in row order, that is missing, truncated, undecodable, too large, longer than 100
            times its short side, or of pixels whose range is not known, with its path and row; grey images of 16 bits
            that all use a small part of them.
    """
    _check_range([_decoded(dataset, image_column, num_workers, split, channels)])


def _decoded(dataset: Dataset, image_column: str, num_workers: int, split: str, channels: int) -> Seen:
    """Decode every image of a split; what was seen of all of them, or `DataError` at the first that is wrong."""
    if not isinstance(dataset.features.get(image_column), Image):
        raise DataError(f"{split}: '{image_column}' is no image column; columns: {', '.join(dataset.column_names)}")
    rows = _Checked(dataset.select_columns([image_column]), channels)
    num_workers = min(num_workers, cores_per_rank(), len(rows))
    # Workers, since Pillow decodes under the interpreter lock; none for what one process does as soon as they start.
    blocks = DataLoader(rows, batch_size=None, num_workers=num_workers if num_workers > 1 else 0)
    seen = Seen()
    for block, (problem, of_block) in enumerate(blocks):
        if problem is not None:
            row, path, what = problem
            where = f"row {block * BATCH + row} ({path})" if path else f"row {block * BATCH + row}"
            raise DataError(f"{split}, {where}: {what}; replace the image or remove the row")
        seen = seen.with_those(of_block)
    return seen


def _check_range(splits: list[Seen]) -> None:
    """Refuse 16-bit images of a camera with fewer bits, which would be left with a few grey levels."""
    seen = reduce(Seen.with_those, splits, Seen())
    if seen.largest_of_16_bits is not None and seen.largest_of_16_bits < SMALL_PART:
        largest = seen.largest_of_16_bits
        raise DataError(
            f"the grey images of 16 bits have values up to {largest} of 65535, so {largest // 257 + 1} of 256 "
            f"grey levels would be left; multiply all of them by the same number, up to {65535 // max(largest, 1)}, "
            "or save them with 8 bits"
        )
    if seen.largest_of_8_bits is not None and seen.largest_of_8_bits < DARK and seen.largest_of_16_bits is None:
        logger.warning(
            "no image has a value above %d of 255; colour images of 16 bits that a camera of 12 bits made look so, "
            "and masks of class numbers: check that these are the images that you mean",
            seen.largest_of_8_bits,
        )


def check_all_images(splits: DatasetDict, num_workers: int = 1, channels: int = 3) -> None:
    """`check_images` of every split.

    Args:
        splits: each with an image column `image`.
        num_workers, channels: as for `check_images`.

    Raises:
        DataError: as `check_images`.
    """
    _check_range([_decoded(dataset, "image", num_workers, split, channels) for split, dataset in splits.items()])


class _Checked(TorchDataset):
    """Blocks of rows; asked for one, it says what is wrong with its first image that cannot be decoded."""

    def __init__(self, dataset: Dataset, channels: int):
        self.channels = channels
        (self.column, feature), *_ = dataset.features.items()
        self.dataset, self.decoder = dataset.with_format("arrow"), Image(mode=feature.mode)
        self.is_bright = False

    def __len__(self) -> int:
        return -(-len(self.dataset) // BATCH)

    def __getitem__(self, block: int) -> tuple[tuple[int, str | None, str] | None, Seen]:
        """(row in the block, path, what is wrong) or None; what was seen of the block."""
        if block >= len(self):
            raise IndexError(block)
        table, seen = self.dataset[block * BATCH : (block + 1) * BATCH], Seen()
        with warnings.catch_warnings(action="ignore"):  # of size, which is refused, and of broken EXIF data
            for row, value in enumerate(table[self.column].to_pylist()):
                if value is None or (value["bytes"] is None and value["path"] is None):
                    return (row, None, "the image is missing"), seen
                try:
                    seen = seen.with_those(self._seen_of(value))
                except Exception as error:  # decoders raise anything, from SyntaxError to struct.error
                    return (row, value["path"], _reason(error)), seen
        return None, seen

    def _seen_of(self, value: dict) -> Seen:
        if self.channels != 3:
            stored_channels(value, self.channels)
            return Seen()
        if str(value["path"]).endswith(".npy"):
            raise DataError("an array, which RGB images are not read from; set num_channels, or save it as PNG")
        with PILImage.open(value["path"] if value["bytes"] is None else io.BytesIO(value["bytes"])) as header:
            if (wrong := wrong_header(header)) is not None:
                raise DataError(wrong)
        image = self.decoder.decode_example(value)
        if (wrong := wrong_header(image) or unknown_range(image)) is not None:  # ICO files may be of another size
            raise DataError(wrong)
        if is_sixteen_bits(image):
            return Seen(largest_of_16_bits=int(np.asarray(image).max()))
        rgb = image if image.mode in ("L", "RGB") else as_rgb(image)
        if self.is_bright:  # one bright image says it, so others need not be looked at
            return Seen()
        largest = max(high for _, high in as_rgb(rgb).getextrema())
        self.is_bright = largest >= DARK
        return Seen(largest_of_8_bits=largest)


def _reason(error: Exception) -> str:
    if type(error) in (DataError, ValueError):  # which says by itself what is wrong
        return str(error)
    if isinstance(error, PILImage.DecompressionBombError):
        return "it has too many pixels to decode; make it smaller"
    if isinstance(error, UnidentifiedImageError):
        return "the file is not an image that Pillow can read"
    if isinstance(error, FileNotFoundError):
        return "the image file does not exist"
    return "the image cannot be decoded: " + (str(error).split("\n")[0] or type(error).__name__)
