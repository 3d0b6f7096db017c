"""Augmentation: training and evaluation transforms, Mixup and CutMix, repeated augmentation, order of images."""

from trainer.augmentation.batch_transforms import augment, draw, frame, frame_picture
from trainer.augmentation.device_images import DeviceImages
from trainer.augmentation.erasing import erase
from trainer.augmentation.images import EvaluationImages, HostImages, TrainingImages, collate
from trainer.augmentation.mixing import BatchMixing
from trainer.augmentation.pipelines import PIPELINES, evaluation_images, training_images
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
    "collate",
    "draw",
    "erase",
    "evaluation_images",
    "frame",
    "frame_picture",
    "hashed",
    "image_processor",
    "rows_of",
    "seeded",
    "train_transform",
    "training_images",
]
