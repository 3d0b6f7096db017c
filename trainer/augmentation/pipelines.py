"""The two pipelines behind one setting, `image_pipeline`: what a training reads its images from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from datasets import Dataset
from torch.utils.data import Dataset as TorchDataset
from transformers import BaseImageProcessor

from trainer.augmentation.device_images import RESIDENT, DeviceEvaluationImages, DeviceImages
from trainer.augmentation.images import EvaluationImages, HostImages, TrainingImages

PIPELINES = ("host", "device")


def training_images(
    pipeline: str, dataset: Dataset, transforms: Sequence[str], image_size: int, device: torch.device, seed: int
) -> TrainingImages:
    """The augmented training images of a pipeline.

    Args:
        pipeline: "host" (Pillow and timm in workers, the reference) or "device".
        dataset, transforms, image_size, seed: as for `TrainingImages`.
        device: of the training.
    """
    if pipeline == "device":
        return DeviceImages(dataset, transforms, image_size, device, seed)
    return HostImages(dataset, transforms, image_size, seed)


def evaluation_images(
    pipeline: str, dataset: Dataset, processor: BaseImageProcessor, image_size: int, device: torch.device
) -> TorchDataset:
    """Evaluation images; in the device pipeline prepared once and kept there, if they fit `RESIDENT` GB."""
    images = EvaluationImages(dataset, processor)
    fits = 12 * image_size**2 * len(images) <= RESIDENT * 1e9
    return DeviceEvaluationImages(images, device) if pipeline == "device" and fits else images
