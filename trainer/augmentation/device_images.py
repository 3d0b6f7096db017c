"""Data sets of small images kept on the device: training images, augmented there once an epoch, and test images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from PIL import Image
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset
from transformers import default_data_collator

from trainer.augmentation.batch_transforms import augment, draw, frame
from trainer.augmentation.erasing import erase
from trainer.augmentation.images import EvaluationImages
from trainer.augmentation.sampler import ImageKey
from trainer.augmentation.stacks import rows_of, to_device
from trainer.augmentation.transforms import hashed
from trainer.data import as_rgb
from trainer.errors import RunError

LARGEST = 4  # GB
NOISE = 2**22  # normal numbers that erased rectangles are filled from


class DeviceImages(TorchDataset):
    """Augmented training images of a device, each a function of (seed, epoch, row) alone.

    When the first batch of an epoch is asked for, every image is augmented once; a batch is then only picked out and
    normalised. So neither batches nor ranks nor an interruption change what an image looks like, and no step waits for
    the host. It answers the keys that `TrainingSampler` draws without repeats, with whole batches: use `collate`.

    Args:
        dataset: rows with an `image` and a `label` column; all are decoded, and resized to squares, at once.
        transforms: names of `TRAIN_TRANSFORMS`, one for `pixel_values` and perhaps one for `second_view`.
        image_size: S, side of the images in pixels.
        device: where they are kept: N * S * S * 3 bytes, and as many again for each transform.
        seed: of all augmentation. Default 0.

    Raises:
        RunError: the images alone take more than `LARGEST` GB.
    """

    def __init__(
        self, dataset: Dataset, transforms: Sequence[str], image_size: int, device: torch.device, seed: int = 0
    ):
        _check_size("training", len(dataset), image_size, bytes_per_pixel=3)
        size = (image_size, image_size)
        rows = (as_rgb(image).resize(size, Image.Resampling.BICUBIC) for image in dataset["image"])
        images = torch.stack([torch.from_numpy(np.array(image)) for image in rows])
        self.images = images.permute(0, 3, 1, 2).contiguous().to(device)
        self.labels = torch.tensor(dataset["label"][:], device=device)
        self.views = dict(zip(("pixel_values", "second_view"), transforms, strict=False))
        self.mean = 255 * torch.tensor(IMAGENET_DEFAULT_MEAN, device=device).view(3, 1, 1)
        self.std = 255 * torch.tensor(IMAGENET_DEFAULT_STD, device=device).view(3, 1, 1)
        if "paper" in transforms:
            generator = torch.Generator().manual_seed(hashed(seed, 0, 0, 1))  # that of no epoch and view
            self.noise = torch.randn(NOISE, generator=generator).to(device)
        self.seed = seed
        self.epoch = None
        self.draws, self.augmented = {}, {}

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, keys: Sequence[ImageKey]) -> dict[str, Tensor]:
        self._augment(keys[0].epoch)
        rows = to_device(torch.tensor([key.row for key in keys]), self.images.device)
        batch = {"labels": self.labels[rows]}
        for view, images in self.augmented.items():
            batch[view] = (images[rows] - self.mean) / self.std
            if "erase_box" in self.draws[view]:
                erase(batch[view], rows_of(self.draws[view], [key.row for key in keys]), self.noise)
        return batch

    def _augment(self, epoch: int) -> None:
        if epoch == self.epoch:
            return
        for index, (view, name) in enumerate(self.views.items()):
            size, generator = self.images.shape[-1], torch.Generator().manual_seed(hashed(self.seed, epoch, index))
            self.draws[view] = draws = draw(name, len(self), size, generator)
            self.augmented[view] = augment(name, frame(name, self.images, draws, size), draws)
        self.epoch = epoch


class DeviceEvaluationImages(TorchDataset):
    """Evaluation images, prepared once and kept, so that an evaluation at each epoch does not wait for the host.

    Args:
        images: what is kept: N images of S x S pixels, 12 * N * S * S bytes.
        image_size: S.
        device: where they are kept.

    Raises:
        RunError: they take more than `LARGEST` GB.
    """

    def __init__(self, images: EvaluationImages, image_size: int, device: torch.device):
        _check_size("test", len(images), image_size, bytes_per_pixel=12)
        rows = (images[row] for row in range(len(images)))
        pixels, labels = zip(*((row["pixel_values"], row["labels"]) for row in rows), strict=True)
        self.pixels, self.labels = torch.stack(pixels).to(device), torch.tensor(labels, device=device)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitems__(self, rows: Sequence[int]) -> dict[str, Tensor]:
        rows = to_device(torch.tensor(rows), self.pixels.device)
        return {"pixel_values": self.pixels[rows], "labels": self.labels[rows]}


def _check_size(kind: str, images: int, image_size: int, bytes_per_pixel: int) -> None:
    gigabytes = bytes_per_pixel * image_size**2 * images / 1e9
    if gigabytes > LARGEST:
        raise RunError(
            f"images_on_device would put {images} {kind} images of {image_size} px on the device, {gigabytes:.1f} GB "
            f"(and for each view of training images as much again); above {LARGEST} GB leave it out"
        )


def collate(examples: dict[str, Tensor] | list[dict[str, Any]]) -> dict[str, Tensor]:
    """A batch of images of the device is one already; the rows of other data sets are stacked."""
    return examples if isinstance(examples, dict) else default_data_collator(examples)
