"""The images that contestants train on, and the batches of plain loops."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from datasets import ClassLabel, Dataset, Features, Image
from PIL import Image as PILImage
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from trainer.augmentation import PIPELINES, TrainingSampler, collate, training_images
from trainer.augmentation.images import VIEWS
from trainer.base_arguments import RunArguments
from trainer.benchmark.entry import CLASSES, Entry

DATA = ("synthetic", *PIPELINES)
SOURCE_SIZE = 32  # pixels of the image files: CIFAR's, which the paper's recipes enlarge
POOL = 4  # random batches


class RandomBatches(TorchDataset):
    """Batches of random numbers that lie on the device, the same few again and again: what it costs to have no data.

    Args:
        entry: whose batches they are.
        device: where they lie.
        views: names of the images of a batch.
    """

    def __init__(self, entry: Entry, device: torch.device, views: Sequence[str]):
        size, generator = entry.case.image_size, torch.Generator().manual_seed(0)
        shape = (entry.batch_size, 3, size, size)
        self.rows = entry.rows
        self.pool = [
            {
                **{view: torch.randn(shape, generator=generator).to(device) for view in views},
                "labels": torch.randint(CLASSES, (entry.batch_size,), generator=generator).to(device),
            }
            for _ in range(POOL)
        ]
        self.batches = itertools.cycle(self.pool)

    def __len__(self) -> int:
        return self.rows

    def __getitems__(self, keys: Sequence) -> dict[str, Tensor]:
        return dict(next(self.batches))


def images_of(entry: Entry, args: RunArguments) -> TorchDataset:
    """Random tensors on the device, or image files that a pipeline augments."""
    if entry.data == "synthetic":
        return RandomBatches(entry, args.device, VIEWS[: len(args.transforms)])
    rows = generated_rows(entry.rows)
    return training_images(entry.data, rows, args.transforms, entry.case.image_size, args.device, args.seed)


def generated_rows(count: int) -> Dataset:
    """PNG files of random pixels, in memory, with labels of all classes."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, SOURCE_SIZE, SOURCE_SIZE, 3), dtype=np.uint8)
    features = Features({"image": Image(), "label": ClassLabel(names=[f"class{c}" for c in range(CLASSES)])})
    images = [PILImage.fromarray(image) for image in pixels]
    return Dataset.from_dict({"image": images, "label": [row % CLASSES for row in range(count)]}, features)


def batches_for_ever(images: TorchDataset, args: RunArguments) -> Iterator[dict[str, Tensor]]:
    """Batches on the device as a plain loop has them: of the pool, or of the host pipeline, epoch after epoch."""
    if isinstance(images, RandomBatches):
        yield from images.batches
    order = TrainingSampler.for_run(args, len(images))
    loader = DataLoader(
        images,
        args.train_batch_size,
        sampler=order,
        num_workers=args.dataloader_num_workers,
        collate_fn=collate,
        pin_memory=args.dataloader_pin_memory,
        persistent_workers=args.dataloader_persistent_workers,
    )
    for epoch in itertools.count():
        order.set_epoch(epoch)
        for batch in loader:
            yield {name: values.to(args.device, non_blocking=True) for name, values in batch.items()}
