"""Plain rows, as `datasets` has them, that a `DeiTLTTrainer` is given: brought together with its student."""

from __future__ import annotations

from datasets import Dataset, DatasetDict
from torch.utils.data import Dataset as TorchDataset
from transformers import BaseImageProcessor

from modeling_deit_lt import DeiTLTForImageClassification
from trainer.arguments import DistillationArguments, ModelArguments
from trainer.augmentation import EvaluationImages, channels_of, format_of, image_processor, training_images
from trainer.data import RGB, class_counts, image_and_label, with_classes
from trainer.errors import DataError
from trainer.students import adopt_classes, build_student


def is_plain(dataset) -> bool:
    """Whether these are rows as `datasets` has them, with no transform of the user's own."""
    return isinstance(dataset, Dataset) and dataset.format["type"] != "custom"


def brought_together(
    model: DeiTLTForImageClassification | str,
    args: DistillationArguments,
    train_dataset: Dataset | TorchDataset | None,
    processor: BaseImageProcessor | None,
) -> tuple[DeiTLTForImageClassification, TorchDataset | None, BaseImageProcessor]:
    """A student, its training images and its evaluation transform, which fit each other.

    Args:
        model, args: of a `DeiTLTTrainer`.
        train_dataset: plain rows are wrapped; the student takes their classes and counts.
        processor: whose channels, mean and deviation are the training's too. Default: at the student's size.

    Raises:
        DataError: images, labels, classes or channels do not fit.
    """
    rows = None
    if is_plain(train_dataset):
        rows = image_and_label(DatasetDict(train=train_dataset), "train_dataset")["train"]
    if isinstance(model, str):
        if rows is None:
            raise DataError(f"the preset {model} is built for a train_dataset with images and labels; give one")
        names, counts = rows.features["label"].names, class_counts(rows).tolist()
        channels = channels_of(processor) if processor else RGB.channels
        model = build_student(ModelArguments(preset=model), names, counts, args, channels)
    size, given = model.config.image_size, getattr(train_dataset, "pixels", RGB)
    processor = processor or image_processor(size, args.crop_ratio, given)
    pixels = format_of(processor)
    if pixels.channels != model.config.num_channels:
        raise DataError(
            f"the model takes images of {model.config.num_channels} channels, processing_class gives "
            f"{pixels.channels}; give the image processor of these images"
        )
    if rows is not None:
        adopt_classes(model, rows)
        drawn = args.image_pipeline, rows, args.transforms, size, args.device, args.seed, pixels
        train_dataset = training_images(*drawn)
    return model, train_dataset, processor


def tested_on(dataset, names: list[str], processor: BaseImageProcessor):
    """Evaluation images of plain rows, and of each data set of a dictionary; anything else as it is.

    Args:
        dataset: as `Trainer` takes it.
        names: (C,) the student's classes.
        processor: the evaluation transform.

    Raises:
        DataError: other classes, or as `with_classes`.
    """
    if isinstance(dataset, dict):
        return {key: tested_on(part, names, processor) for key, part in dataset.items()}
    return EvaluationImages(with_classes(dataset, names), processor) if is_plain(dataset) else dataset
