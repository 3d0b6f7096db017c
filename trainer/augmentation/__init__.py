"""Augmentation: training and evaluation transforms, Mixup and CutMix, repeated augmentation, order of images."""

from trainer.augmentation.batch_transforms import BATCH_TRANSFORMS, augment_batch
from trainer.augmentation.images import EvaluationImages, TrainingImages
from trainer.augmentation.mixing import BatchMixing
from trainer.augmentation.sampler import ImageKey, TrainingSampler
from trainer.augmentation.transforms import TRAIN_TRANSFORMS, image_processor, seeded, train_transform

__all__ = [
    "BATCH_TRANSFORMS",
    "TRAIN_TRANSFORMS",
    "BatchMixing",
    "EvaluationImages",
    "ImageKey",
    "TrainingImages",
    "TrainingSampler",
    "augment_batch",
    "image_processor",
    "seeded",
    "train_transform",
]
