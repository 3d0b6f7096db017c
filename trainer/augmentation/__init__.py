"""Augmentation: training and evaluation transforms, Mixup and CutMix, repeated augmentation, order of images."""

from trainer.augmentation.batch_transforms import augment, draw, frame, frame_picture
from trainer.augmentation.erasing import erase
from trainer.augmentation.images import EvaluationImages, TrainingImages
from trainer.augmentation.mixing import BatchMixing
from trainer.augmentation.sampler import ImageKey, TrainingSampler
from trainer.augmentation.stacks import Draws, rows_of
from trainer.augmentation.transforms import TRAIN_TRANSFORMS, hashed, image_processor, seeded, train_transform

__all__ = [
    "TRAIN_TRANSFORMS",
    "BatchMixing",
    "Draws",
    "EvaluationImages",
    "ImageKey",
    "TrainingImages",
    "TrainingSampler",
    "augment",
    "draw",
    "erase",
    "frame",
    "frame_picture",
    "hashed",
    "image_processor",
    "rows_of",
    "seeded",
    "train_transform",
]
