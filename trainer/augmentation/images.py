"""Base class of the training images, the reference pipeline on the host, and evaluation images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from datasets import Dataset
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset
from transformers import BaseImageProcessor, default_data_collator

from trainer.augmentation.sampler import ImageKey
from trainer.augmentation.transforms import reseed, seeded, train_transform
from trainer.data import as_rgb

KEPT_BYTES = 128 * 2**20  # decoded images of a process
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

    Raises:
        ValueError: an unknown transform.
    """

    def __init__(self, dataset: Dataset, transforms: Sequence[str], image_size: int, seed: int = 0):
        self.dataset = dataset
        self.transforms = dict(zip(VIEWS, transforms, strict=False))
        self.image_size = image_size
        self.seed = seed
        self._decoded: dict[int, tuple[Image.Image, int]] = {}  # by row, of this process
        self._room = KEPT_BYTES

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

    def read(self, rows: list[int]) -> list[tuple[Image.Image, int]]:
        """RGB images and labels; those of a small data set stay decoded, as decoding takes half of their time."""
        missing = [row for row in dict.fromkeys(rows) if row not in self._decoded]
        found = {}
        if missing:
            table = self.dataset[missing]
            pairs = zip(table["image"], table["label"], strict=True)
            found = {row: (as_rgb(image), label) for row, (image, label) in zip(missing, pairs, strict=True)}
        result = [found.get(row) or self._decoded[row] for row in rows]
        self._room -= sum(4 * image.width * image.height for image, _ in found.values())
        if self._room >= 0:
            self._decoded |= found
        else:  # too large to be kept as a whole, and a part would save little
            self._decoded = {}
        return result


class HostImages(TrainingImages):
    """The reference pipeline: each image by Pillow, timm and torchvision, in the loader's workers."""

    def __init__(self, dataset: Dataset, transforms: Sequence[str], image_size: int, seed: int = 0):
        super().__init__(dataset, transforms, image_size, seed)
        self.views = {view: train_transform(name, image_size) for view, name in self.transforms.items()}

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
        rows = self.dataset[list(indices)]
        images = [as_rgb(image) for image in rows["image"]]
        pixel_values = self.processor(images, return_tensors="pt")["pixel_values"]
        return [{"pixel_values": p, "labels": label} for p, label in zip(pixel_values, rows["label"], strict=True)]


def collate(examples: dict[str, Any] | list[dict[str, Any]]) -> dict[str, Any]:
    """A batch that is one already stays as it is; rows are stacked."""
    return examples if isinstance(examples, dict) else default_data_collator(examples)
