"""Base class of the training images, the reference pipeline on the host, and evaluation images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from datasets import Dataset
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset
from transformers import BaseImageProcessor, default_data_collator

from modeling_deit_lt import levels
from trainer.augmentation.sampler import ImageKey
from trainer.augmentation.transforms import reseed, seeded, train_transform
from trainer.data import RGB, PixelFormat, as_rgb, stored_channels

KEPT_BYTES = 128 * 2**20  # decoded images of a process
OBJECTS = 1200  # bytes of Python's and Pillow's objects around the pixels of one, measured
VIEWS = ("pixel_values", "second_view")


class TrainingImages(TorchDataset, ABC):
    """Augmented training images, each a function of (seed, epoch, position in the epoch) alone.

    Base class of both pipelines. It is asked with the keys that `TrainingSampler` draws, so neither workers nor ranks
    nor an interruption change what an image looks like.

    Args:
        dataset: rows with an `image` and a `label` column.
        transforms: names of `TRAIN_TRANSFORMS`, of `pixel_values` and perhaps of a `second_view` of the same image.
        image_size: S, side of the result in pixels.
        seed: of all augmentation. Default 0.
        pixels: of the images. Default: RGB.

    Raises:
        ValueError: an unknown transform.
    """

    def __init__(
        self, dataset: Dataset, transforms: Sequence[str], image_size: int, seed: int = 0, pixels: PixelFormat = RGB
    ):
        self.dataset = dataset
        self.pixels = pixels
        self.transforms = dict(zip(VIEWS, transforms, strict=False))
        self.image_size = image_size
        self.seed = seed
        self._decoded: dict[int, tuple[Image.Image | Tensor, int]] = {}  # by row, of this process
        self._read, self._bytes = 0, 0  # images that were decoded so far, and their memory

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: ImageKey) -> dict[str, Any]:
        return self.__getitems__([key])[0]

    @abstractmethod
    def __getitems__(self, keys: Sequence[ImageKey]) -> list[dict[str, Any]] | dict[str, Any]:
        """The rows of a batch, or a batch: what a loader's worker does, for `collate`."""

    def finish(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """What is left to do with a batch of the loader where the network is: by default nothing."""
        return batch

    def read(self, rows: list[int]) -> list[tuple[Image.Image | Tensor, int]]:
        """RGB images, or tensors (C, H, W), and labels; those of a small data set stay decoded, which saves half."""
        missing = [row for row in dict.fromkeys(rows) if row not in self._decoded]
        found = {}
        if missing:
            found = dict(zip(missing, read_images(self.dataset, missing, self.pixels), strict=True))
        result = [found.get(row) or self._decoded[row] for row in rows]
        self._read += len(found)
        self._bytes += sum(_memory(image) for image, _ in found.values())
        if self._bytes * len(self.dataset) <= KEPT_BYTES * self._read:
            self._decoded |= found
        else:  # too large to be kept as a whole, and a part would save little
            self._decoded = {}
        return result


class HostImages(TrainingImages):
    """The reference pipeline: each image by Pillow, timm and torchvision, in the loader's workers."""

    def __init__(
        self, dataset: Dataset, transforms: Sequence[str], image_size: int, seed: int = 0, pixels: PixelFormat = RGB
    ):
        super().__init__(dataset, transforms, image_size, seed, pixels)
        self.views = {view: train_transform(name, image_size, pixels) for view, name in self.transforms.items()}

    def __getitems__(self, keys: Sequence[ImageKey]) -> list[dict[str, Any]]:
        examples = []
        with seeded(self.seed):
            for key, (image, label) in zip(keys, self.read([key.row for key in keys]), strict=True):
                reseed(self.seed, key.epoch, key.position)
                examples.append({view: transform(image) for view, transform in self.views.items()} | {"labels": label})
        return examples


class EvaluationImages(TorchDataset):
    """Images as the saved image processor, and so the pipeline, sees them.

    Args:
        dataset: rows with an `image` and a `label` column.
        processor: of the model folder.
    """

    def __init__(self, dataset: Dataset, processor: BaseImageProcessor):
        self.dataset = dataset
        self.processor = processor

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return self.__getitems__([row])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        images, labels = zip(*stored_images(self.dataset, list(indices), channels_of(self.processor)), strict=True)
        pixel_values = self.processor(list(images), return_tensors="pt")["pixel_values"]
        return [{"pixel_values": p, "labels": label} for p, label in zip(pixel_values, labels, strict=True)]


def stored_images(dataset: Dataset, rows: list[int], channels: int) -> list[tuple[Image.Image | np.ndarray, int]]:
    """Images of some rows as they are stored, with their labels: RGB, or arrays (H, W, C) of whole numbers."""
    if channels == 3:
        table = dataset[rows]
        return [(as_rgb(image), label) for image, label in zip(table["image"], table["label"], strict=True)]
    table = dataset.with_format("arrow")[rows]
    values, labels = (table[name].to_pylist() for name in ("image", "label"))
    arrays = (stored_channels(value, channels).transpose(1, 2, 0) for value in values)
    return list(zip(arrays, labels, strict=True))


def read_images(dataset: Dataset, rows: list[int], pixels: PixelFormat) -> list[tuple[Image.Image | Tensor, int]]:
    """`stored_images` as they are augmented: RGB, or tensors (C, H, W) of levels from 0 to 255."""
    images = stored_images(dataset, rows, pixels.channels)
    if pixels.is_rgb:
        return images
    return [(levels(array.transpose(2, 0, 1), pixels.bits), label) for array, label in images]


def channels_of(processor: BaseImageProcessor) -> int:
    """How many channels the images of an image processor have."""
    return getattr(processor, "num_channels", 3)


def format_of(processor: BaseImageProcessor) -> PixelFormat:
    """The format of images that an image processor prepares; RGB's, where it does not say."""
    if getattr(processor, "image_mean", None) is None:
        return RGB
    mean, std = tuple(processor.image_mean), tuple(processor.image_std)
    return PixelFormat(channels_of(processor), getattr(processor, "bits", 8), mean, std)


def _memory(image: Image.Image | Tensor) -> int:
    return OBJECTS + (image.nbytes if isinstance(image, Tensor) else 4 * image.width * image.height)


def collate(examples: dict[str, Any] | list[dict[str, Any]]) -> dict[str, Any]:
    """A batch that is one already stays as it is; rows are stacked."""
    return examples if isinstance(examples, dict) else default_data_collator(examples)
