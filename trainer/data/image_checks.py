"""A look at every image before training, so that a run does not end hours later at one broken file."""

from __future__ import annotations

import csv
import hashlib
import io
import logging
import warnings
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
from datasets import Dataset, Image
from PIL import Image as PILImage
from PIL import UnidentifiedImageError
from torch.utils.data import Dataset as TorchDataset

from modeling_deit_lt import is_sixteen_bits, unknown_range, wrong_header

from ..errors import DataError
from ..terminal import counting
from .pixels import loaded_by_workers, stored_channels
from .remembered import recall, remember
from .rgb import SMALL_PART, as_rgb

logger = logging.getLogger(__name__)

VERSION = 1  # of the check; results of others are not remembered
UNDECODABLE = "undecodable_images.tsv"
BATCH = 256  # rows held in memory at a time, by each worker
DARK = 16  # of 256: what is left of 12 bits in 16


class Undecodable(NamedTuple):
    """An image that cannot be trained on.

    Attributes:
        split, row: where it stands.
        path: of its file, or the name that its row has; None where there is neither.
        reason: what is wrong with it.
    """

    split: str
    row: int
    path: str | None
    reason: str

    def __str__(self) -> str:
        return f"{self.split}, row {self.row}{f' ({self.path})' if self.path else ''}: {self.reason}"


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
    dataset: Dataset,
    image_column: str = "image",
    num_workers: int = 1,
    split: str = "train",
    channels: int = 3,
    state: str | None = None,
    file: Path | None = None,
    show: bool = False,
) -> None:
    """Decode every image once, exactly as reading the row would.

    One process takes about 0.3 ms for a CIFAR image (60,000: 17 s) and 2 ms for a 500 x 400 JPEG.

    Args:
        dataset: a `datasets.Dataset` with an Image column.
        image_column: the Image column.
        num_workers: processes that decode, at most one a core; default 1, this one.
        split: the split's name, for messages.
        channels: that an image must have. Default 3: RGB, which all of 8 bits become.
        state, file, show: as for `check_all_images`, of this split.

    Raises:
        DataError: images that are missing, truncated, undecodable, too large, longer than 100 times their short side,
            or of pixels whose range is not known: the first in row order, with its path and row, and how many; grey
            images of 16 bits that all use a small part of them.
    """
    if not isinstance(dataset.features.get(image_column), Image):
        raise DataError(f"{split}: '{image_column}' is no image column; columns: {', '.join(dataset.column_names)}")
    dataset = dataset.select_columns([image_column])
    if image_column != "image":
        dataset = dataset.rename_column(image_column, "image")
    check_all_images({split: dataset}, num_workers, channels, {split: state}, file, show)


def check_all_images(
    splits: Mapping[str, Dataset],
    num_workers: int = 1,
    channels: int = 3,
    states: Mapping[str, str | None] | None = None,
    file: Path | None = None,
    show: bool = False,
) -> None:
    """`check_images` of every split.

    Args:
        splits: each with an image column `image`.
        num_workers, channels: as for `check_images`.
        states: of the images by split, from `fingerprint`: a split that passed in the same state is not read again.
            Default: all are read.
        file: gets a line for each image that cannot be decoded, where there is one. Default: none.
        show: a bar in a terminal. Default False.

    Raises:
        DataError: as `check_images`.
    """
    keys = {split: _key(state, channels) for split, state in (states or {}).items() if state is not None}
    known = {split: seen for split, key in keys.items() if (seen := recall(key, Seen)) is not None}
    missing = {split: dataset for split, dataset in splits.items() if split not in known}
    problems, found = undecodable_images(missing, num_workers, channels, show=show)
    if problems:
        raise DataError(told(problems, file))
    _check_range([*known.values(), *found.values()])
    for split, seen in found.items():
        if split in keys:
            remember(keys[split], seen)


def _key(state: str, channels: int) -> str:
    return hashlib.sha256(f"{VERSION}|Pillow {PIL.__version__}|{channels}|{state}".encode()).hexdigest()


def told(problems: list[Undecodable], file: Path | None = None) -> str:
    """Images that cannot be decoded in one line: the first, how many, and where all are listed.

    Args:
        problems: one or more.
        file: is written, with a line for each. Default: none.
    """
    listed = ""
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w", newline="", encoding="utf-8", errors="backslashreplace") as opened:
            csv.writer(opened, "excel-tab").writerows([Undecodable._fields, *problems])
        listed = f", listed in {file}"
    count = f" ({len(problems)} such image{'s' if len(problems) > 1 else ''}{listed})"
    return f"{problems[0]}; replace the image or remove the row{count if file or len(problems) > 1 else ''}"


def undecodable_images(
    splits: Mapping[str, Dataset],
    num_workers: int = 1,
    channels: int = 3,
    rows: Mapping[str, np.ndarray] | None = None,
    show: bool = False,
) -> tuple[list[Undecodable], dict[str, Seen]]:
    """Decode images and collect all that is wrong with them.

    Args:
        splits: each with an image column `image`.
        num_workers, channels: as for `check_images`.
        rows: of each split those to decode. Default: all.
        show: a bar in a terminal. Default False.

    Returns:
        What is wrong, in row order; what was seen of each split.
    """
    total = sum(len(dataset) if rows is None else len(rows[split]) for split, dataset in splits.items())
    problems, found = [], {}
    with counting("checking images", total, show) as count:
        for split, dataset in splits.items():
            numbers = np.arange(len(dataset)) if rows is None else rows[split]
            asked = dataset.select_columns(["image"]) if rows is None else dataset.select(numbers)
            checked = _Checked(asked, channels)
            found[split] = Seen()
            blocks = loaded_by_workers(checked, num_workers)
            for start, (wrong, seen) in zip(range(0, len(numbers), BATCH), blocks, strict=True):
                problems += [Undecodable(split, int(numbers[start + row]), *what) for row, *what in wrong]
                found[split] = found[split].with_those(seen)
                count(min(BATCH, len(numbers) - start))
    return problems, found


def _check_range(splits: list[Seen]) -> None:
    """Refuse 16-bit images of a camera with fewer bits, which would be left with a few grey levels."""
    seen = reduce(Seen.with_those, splits, Seen())
    if seen.largest_of_16_bits is not None and seen.largest_of_16_bits < SMALL_PART:
        largest = seen.largest_of_16_bits
        raise DataError(
            f"the grey images of 16 bits have values up to {largest} of 65535, so {largest // 257 + 1} of 256 "
            "grey levels would be left; set num_channels to 1, which keeps all of them, or save them with 8 bits"
        )
    if seen.largest_of_8_bits is not None and seen.largest_of_8_bits < DARK and seen.largest_of_16_bits is None:
        logger.warning(
            "no image has a value above %d of 255; colour images of 16 bits that a camera of 12 bits made look so, "
            "and masks of class numbers: check that these are the images that you mean",
            seen.largest_of_8_bits,
        )


class _Checked(TorchDataset):
    """Blocks of rows; asked for one, it says what is wrong with its images."""

    def __init__(self, dataset: Dataset, channels: int):
        self.channels = channels
        self.dataset, self.decoder = dataset.with_format("arrow"), Image(mode=dataset.features["image"].mode)
        self.is_bright = False

    def __len__(self) -> int:
        return -(-len(self.dataset) // BATCH)

    def __getitem__(self, block: int) -> tuple[list[tuple[int, str | None, str]], Seen]:
        """(row in the block, path, what is wrong) of each such image; what was seen of the block."""
        if block >= len(self):
            raise IndexError(block)
        table, wrong, seen = self.dataset[block * BATCH : (block + 1) * BATCH], [], Seen()
        with warnings.catch_warnings(action="ignore"):  # of size, which is refused, and of broken EXIF data
            for row, value in enumerate(table["image"].to_pylist()):
                if value is None or (value["bytes"] is None and value["path"] is None):
                    wrong.append((row, None, "the image is missing"))
                    continue
                try:
                    seen = seen.with_those(self._seen_of(value))
                except Exception as error:  # decoders raise anything, from SyntaxError to struct.error
                    wrong.append((row, value["path"], _reason(error)))
        return wrong, seen

    def _seen_of(self, value: dict) -> Seen:
        if self.channels != 3:
            stored_channels(value, self.channels)
            return Seen()
        if str(value["path"]).endswith(".npy"):
            raise DataError("an array, which RGB images are not read from; set num_channels, or save it as PNG")
        with PILImage.open(value["path"] if value["bytes"] is None else io.BytesIO(value["bytes"])) as header:
            if (wrong := wrong_header(header)) is not None:
                raise DataError(wrong)
            if header.format == "TIFF" and header.n_frames > 1 and len(header.getbands()) == 1:
                raise DataError(
                    f"a TIFF of {header.n_frames} grey pages, of which RGB would take the first; set num_channels to "
                    "take each as a channel, or save one page"
                )
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
    return "the image cannot be decoded: " + (" ".join(str(error).split("\n")[0].split()) or type(error).__name__)
