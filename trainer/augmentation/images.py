"""The data sets a trainer reads: rows of images in, `pixel_values` and `labels` out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from datasets import Dataset
from PIL import Image
from torch.utils.data import Dataset as TorchDataset
from transformers import BaseImageProcessor

from trainer.augmentation.sampler import ImageKey
from trainer.augmentation.transforms import reseed, seeded
from trainer.data import as_rgb

KEPT_BYTES = 128 * 2**20  # decoded images of a process


class TrainingImages(TorchDataset):
    """Augmented training images, each a function of (seed, epoch, position in the epoch) alone.

    It is asked with the keys that `TrainingSampler` draws, so neither workers nor ranks nor an interruption change
    what an image looks like.

    Args:
        dataset: rows with an `image` and a `label` column.
        transform: RGB PIL image to (3, S, S) tensor, drawing from the global generators.
        seed: of all augmentation. Default 0.
        second_transform: of a `second_view` of the same image, or None (default) for one view.
    """

    def __init__(
        self,
        dataset: Dataset,
        transform: Callable[[Image.Image], Any],
        seed: int = 0,
        second_transform: Callable[[Image.Image], Any] | None = None,
    ):
        self.dataset = dataset
        self.views = {"pixel_values": transform}
        if second_transform is not None:
            self.views["second_view"] = second_transform
        self.seed = seed
        self._decoded: dict[int, tuple[Image.Image, int]] = {}  # by row, of this process
        self._room = KEPT_BYTES

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: ImageKey) -> dict[str, Any]:
        return self.__getitems__([key])[0]

    def _read(self, rows: list[int]) -> list[tuple[Image.Image, int]]:
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

    def __getitems__(self, keys: Sequence[ImageKey]) -> list[dict[str, Any]]:
        examples = []
        with seeded(self.seed):
            for key, (image, label) in zip(keys, self._read([key.row for key in keys]), strict=True):
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
