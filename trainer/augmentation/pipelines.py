"""The two pipelines behind one setting, `image_pipeline`: what a training reads its images from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from datasets import Dataset
from PIL import Image
from torch.utils.data import Dataset as TorchDataset
from transformers import BaseImageProcessor

from trainer.augmentation.batch_transforms import augment, draw
from trainer.augmentation.device_images import RESIDENT, DeviceEvaluationImages, DeviceImages
from trainer.augmentation.images import EvaluationImages, HostImages, TrainingImages, channels_of
from trainer.augmentation.transforms import train_transform
from trainer.data import RGB, PixelFormat, blank_format

PIPELINES = ("host", "device")


def training_images(
    pipeline: str | None,
    dataset: Dataset,
    transforms: Sequence[str],
    image_size: int,
    device: torch.device,
    seed: int,
    pixels: PixelFormat = RGB,
) -> TrainingImages:
    """The augmented training images of a pipeline.

    Args:
        pipeline: "host" (Pillow and timm in workers, the reference, for RGB alone) or "device"; None: the host's for
            RGB, else the device's.
        dataset, transforms, image_size, seed, pixels: as for `TrainingImages`.
        device: of the training.
    """
    if chosen_pipeline(pipeline, pixels.channels) == "device":
        return DeviceImages(dataset, transforms, image_size, device, seed, pixels)
    return HostImages(dataset, transforms, image_size, seed, pixels)


def chosen_pipeline(pipeline: str | None, channels: int) -> str:
    """The pipeline that was asked for, or the one that images of so many channels have.

    Raises:
        ValueError: the host's, for images that are not RGB.
    """
    if pipeline == "host" and channels != 3:
        raise ValueError(
            f"image_pipeline host augments by Pillow, which knows RGB; with num_channels {channels} leave it out"
        )
    return pipeline or ("host" if channels == 3 else "device")


def try_transforms(pipeline: str | None, transforms: Sequence[str], image_size: int, channels: int) -> None:
    """Augment a black image of so many channels by each transform, to see that it can be done.

    Raises:
        ValueError: it cannot.
    """
    pixels, generator = blank_format(channels), torch.Generator()
    for name in transforms:
        if chosen_pipeline(pipeline, channels) == "host":
            train_transform(name, image_size)(Image.new("RGB", (image_size, image_size)))
        else:
            draws = draw(name, 1, image_size, generator, pixels)
            augment(name, torch.zeros(1, channels, image_size, image_size), draws, pixels)


def evaluation_images(
    pipeline: str | None, dataset: Dataset, processor: BaseImageProcessor, image_size: int, device: torch.device
) -> TorchDataset:
    """Evaluation images; in the device pipeline prepared once and kept there, if they fit `RESIDENT` GB."""
    images, channels = EvaluationImages(dataset, processor), channels_of(processor)
    fits = 4 * channels * image_size**2 * len(images) <= RESIDENT * 1e9
    on_device = chosen_pipeline(pipeline, channels) == "device" and fits
    return DeviceEvaluationImages(images, device) if on_device else images
