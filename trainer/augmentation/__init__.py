"""Augmentation: training and evaluation transforms, Mixup and CutMix, repeated augmentation, order of images."""

from trainer.augmentation.batch_transforms import augment, draw, frame, frame_picture, steps_of_colour
from trainer.augmentation.device_images import DeviceImages
from trainer.augmentation.erasing import erase
from trainer.augmentation.images import (
    EvaluationImages,
    HostImages,
    TrainingImages,
    channels_of,
    collate,
    format_of,
    stored_images,
)
from trainer.augmentation.mixing import BatchMixing
from trainer.augmentation.pipelines import (
    PIPELINES,
    chosen_pipeline,
    evaluation_images,
    training_images,
    try_transforms,
)
from trainer.augmentation.sampler import ImageKey, TrainingSampler
from trainer.augmentation.stacks import Draws, rows_of
from trainer.augmentation.transforms import TRAIN_TRANSFORMS, hashed, image_processor, seeded, train_transform

__all__ = [
    "PIPELINES",
    "TRAIN_TRANSFORMS",
    "BatchMixing",
    "DeviceImages",
    "Draws",
    "EvaluationImages",
    "HostImages",
    "ImageKey",
    "TrainingImages",
    "TrainingSampler",
    "augment",
    "channels_of",
    "chosen_pipeline",
    "collate",
    "draw",
    "erase",
    "evaluation_images",
    "format_of",
    "frame",
    "frame_picture",
    "hashed",
    "image_processor",
    "rows_of",
    "seeded",
    "steps_of_colour",
    "stored_images",
    "train_transform",
    "training_images",
    "try_transforms",
]
