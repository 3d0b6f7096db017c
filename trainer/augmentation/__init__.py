"""Augmentation: training and evaluation transforms, Mixup and CutMix, repeated augmentation, order of images."""

from trainer.augmentation.device_images import DeviceImages
from trainer.augmentation.images import EvaluationImages, HostImages, TrainingImages, collate
from trainer.augmentation.mixing import BatchMixing
from trainer.augmentation.pipelines import PIPELINES, evaluation_images, training_images
from trainer.augmentation.sampler import ImageKey, TrainingSampler
from trainer.augmentation.transforms import TRAIN_TRANSFORMS, hashed, image_processor, seeded, train_transform

__all__ = [
    "PIPELINES",
    "TRAIN_TRANSFORMS",
    "BatchMixing",
    "DeviceImages",
    "EvaluationImages",
    "HostImages",
    "ImageKey",
    "TrainingImages",
    "TrainingSampler",
    "collate",
    "evaluation_images",
    "hashed",
    "image_processor",
    "seeded",
    "train_transform",
    "training_images",
]
