"""The device pipeline: images are kept where the network is, or come there as bytes, and are augmented in batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from trainer.augmentation.batch_transforms import CROPPED, augment, draw, frame, frame_picture
from trainer.augmentation.erasing import erase
from trainer.augmentation.images import EvaluationImages, TrainingImages
from trainer.augmentation.sampler import ImageKey
from trainer.augmentation.stacks import Draws, rows_of, to_device
from trainer.augmentation.transforms import hashed
from trainer.data import RGB, PixelFormat

RESIDENT = 4  # GB of images of one kind that are kept on the device
AHEAD = 1  # GB of augmented images of an epoch that are made at once
NOISE = 2**22  # normal numbers that erased rectangles are filled from, at least
KEYS = "image_keys"  # of a batch: (n, 3) rows, epoch and positions; numpy, so that no loader moves them


class DeviceImages(TrainingImages):
    """Training images that are augmented on the device, a batch or an epoch at once.

    Images of one size (of any, where the transform takes whole images, as squares) that fit `RESIDENT` GB are kept on
    the device; workers then have nothing to do. Others are decoded, and cropped if the transform begins so, by the
    loader's workers, and come as bytes. What happens to an image is drawn for all positions of an epoch beforehand, on
    the host, so that no step waits for the device.

    Args:
        dataset, transforms, image_size, seed, pixels: as for `TrainingImages`.
        device: where images are kept and augmented.
    """

    def __init__(
        self,
        dataset: Dataset,
        transforms: Sequence[str],
        image_size: int,
        device: torch.device,
        seed: int = 0,
        pixels: PixelFormat = RGB,
    ):
        super().__init__(dataset, transforms, image_size, seed, pixels)
        for name in transforms:
            draw(name, 0, image_size, torch.Generator(), pixels)  # an unknown one raises now
        self.device = device
        self.mean = 255 * torch.tensor(pixels.mean, device=device).view(-1, 1, 1)
        self.std = 255 * torch.tensor(pixels.std, device=device).view(-1, 1, 1)
        self.stack = self._stack()
        if self.resident:
            self._decoded = {}
            self.labels = torch.tensor(dataset["label"][:], device=device)
        self._epoch, self._draws = None, {}
        self._noise = None  # made on the device by the first batch, never in a worker
        self._ahead: tuple[int, np.ndarray, dict[str, Tensor]] | None = None  # epoch, rows by position, views

    @property
    def resident(self) -> bool:
        """Whether the images are kept on the device."""
        return self.stack is not None

    def __getitems__(self, keys: Sequence[ImageKey]) -> dict[str, Any]:
        table = np.array(keys, dtype=np.int64)
        if self.resident:
            return {KEYS: table}
        pictures, labels = zip(*self.read([key.row for key in keys]), strict=True)
        batch = {KEYS: table, "labels": torch.tensor(labels)}
        for view, draws in self._drawn(table).items():
            rows = ({name: column[i] for name, column in draws.items()} for i in range(len(keys)))
            framed = [
                frame_picture(self.transforms[view], picture, row, self.image_size)
                for picture, row in zip(pictures, rows, strict=True)
            ]
            batch[view] = _as_stack(framed)
        return batch

    def augment_epoch(self, epoch: int, rows: np.ndarray) -> None:
        """Augment all images of an epoch at once, if they are resident and small: less work on the host for each.

        Args:
            epoch: 0-based.
            rows: of the image at each position.
        """
        size = self.pixels.size * self.image_size**2 * len(rows) * len(self.transforms)
        self._ahead = None
        if self.resident and size <= AHEAD * 1e9:
            positions = np.arange(len(rows))
            keys = np.stack([rows, np.full_like(rows, epoch), positions], axis=1)
            self._ahead = epoch, rows, self._augmented({KEYS: keys}, self._drawn(keys))

    def finish(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """The augmented, normalised views of a batch of the loader, and its labels."""
        keys = batch[KEYS]
        drawn, result = self._drawn(keys), {}
        if self._is_ahead(keys):
            places = self._on_device(keys[:, 2])
            views = {view: images.index_select(0, places) for view, images in self._ahead[2].items()}
        else:
            views = self._augmented(batch, drawn)
        for view, images in views.items():
            result[view] = (images - self.mean) / self.std
            if "erase_box" in drawn[view]:
                erase(result[view], drawn[view], self._normal_numbers())
        labels = self.labels[self._on_device(keys[:, 0])] if self.resident else batch["labels"].to(self.device)
        return {**result, "labels": labels}

    def _is_ahead(self, keys: np.ndarray) -> bool:
        if self._ahead is None or self._ahead[0] != keys[0, 1] or keys[:, 2].max() >= len(self._ahead[1]):
            return False
        return bool((self._ahead[1][keys[:, 2]] == keys[:, 0]).all())

    def _augmented(self, batch: dict[str, Any], drawn: dict[str, Draws]) -> dict[str, Tensor]:
        """The views of a batch of the loader as bytes, framed by its worker or here."""
        if self.resident:
            images = self.stack.index_select(0, self._on_device(batch[KEYS][:, 0]))
            framed = {v: frame(name, images, drawn[v], self.image_size) for v, name in self.transforms.items()}
        else:
            framed = {view: batch[view].to(self.device) for view in self.transforms}
        return {view: augment(self.transforms[view], framed[view], drawn[view], self.pixels) for view in framed}

    def _on_device(self, column: np.ndarray) -> Tensor:
        return to_device(torch.from_numpy(np.ascontiguousarray(column)), self.device)

    def _drawn(self, keys: np.ndarray) -> dict[str, Draws]:
        """What was drawn for a batch, of each view; beyond the images of an epoch the draws begin again."""
        epoch = int(keys[0, 1])
        if epoch != self._epoch:
            self._epoch = epoch
            for index, (view, name) in enumerate(self.transforms.items()):
                generator = torch.Generator().manual_seed(hashed(self.seed, epoch, index))
                self._draws[view] = draw(name, len(self), self.image_size, generator, self.pixels)
        positions = torch.from_numpy(keys[:, 2] % len(self))
        return {view: rows_of(draws, positions) for view, draws in self._draws.items()}

    def _normal_numbers(self) -> Tensor:
        if self._noise is None:
            # The last number is not 0: those of epoch 0 end so, and a hash does not see zeros at the end.
            generator = torch.Generator().manual_seed(hashed(self.seed, 0, 0, 1))
            most = max(NOISE, 2 * self.pixels.channels * self.image_size**2)
            self._noise = torch.randn(most, generator=generator).to(self.device)
        return self._noise

    def _stack(self) -> Tensor | None:
        """All images, (N, C, H, W) on the device; None where they differ in size or are too many."""
        first = self._framed(0)
        if first.element_size() * first.numel() * len(self) > RESIDENT * 1e9:
            return None
        stack = torch.empty(len(self), *first.shape, dtype=first.dtype)
        for row in range(len(self)):
            image = self._framed(row)
            if image.shape != first.shape:
                return None
            stack[row] = image
        return stack.to(self.device)

    def _framed(self, row: int) -> Tensor:
        """An image as it is kept: as a square where the transforms take it whole."""
        ((picture, _),) = self.read([row])
        name = next(iter(self.transforms.values()))
        whole = not any(name in CROPPED for name in self.transforms.values())
        return _as_stack([frame_picture(name, picture, {}, self.image_size) if whole else picture])[0]


class DeviceEvaluationImages(TorchDataset):
    """Evaluation images, prepared once and kept, so that an evaluation at each epoch does not wait for the host.

    Args:
        images: what is kept: N images of C x S x S float32 numbers.
        device: where they are kept.
    """

    resident = True

    def __init__(self, images: EvaluationImages, device: torch.device):
        rows = (images[row] for row in range(len(images)))
        pixels, labels = zip(*((row["pixel_values"], row["labels"]) for row in rows), strict=True)
        self.pixels, self.labels = torch.stack(pixels).to(device), torch.tensor(labels, device=device)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitems__(self, rows: Sequence[int]) -> dict[str, Tensor]:
        rows = to_device(torch.tensor(rows), self.pixels.device)
        return {"pixel_values": self.pixels[rows], "labels": self.labels[rows]}


def _as_stack(pictures: Sequence) -> Tensor:
    """Pictures of one size as (n, C, H, W)."""
    if isinstance(pictures[0], Tensor):
        return torch.stack(pictures)
    return torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])).permute(0, 3, 1, 2).contiguous()
