"""Training a teacher from data to a folder: build the network, train, test, save."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from accelerate.state import AcceleratorState
from datasets import Dataset, DatasetDict
from timm.models import save_for_hf
from torch import nn
from torch.utils.data import Dataset as TorchDataset

from trainer.augmentation import TrainingImages, evaluation_images, image_processor
from trainer.augmentation import training_images as augmented
from trainer.data import RGB, PixelFormat, class_counts
from trainer.errors import TeacherError
from trainer.evaluation import METRICS, per_class_accuracy, plot_class_accuracy
from trainer.teachers import cifar_resnet, cosine  # noqa: F401  (register their models with timm)
from trainer.teachers.arguments import TeacherArguments
from trainer.teachers.paco import PaCo, PaCoTrainer
from trainer.teachers.trainer import TeacherTrainer

# Raise it when the same settings come to give another teacher: one of another version is trained anew, not reused.
TRAINING_VERSION = 4


@dataclass(frozen=True)
class TrainedTeacher:
    """What a teacher's training gives besides the folder.

    Attributes:
        figures: test figures of the last epoch, whose weights are saved.
        best_epoch_on_test: those of the epoch with the highest test accuracy, with its number: how teachers' figures
            are published, and too high by the choice. None without `eval_strategy`.
        seconds, images_per_second: of this process, evaluations included.
    """

    figures: dict
    best_epoch_on_test: dict | None
    seconds: float
    images_per_second: float


def train_teacher(
    args: TeacherArguments,
    splits: DatasetDict,
    boundaries=None,
    checkpoint: str | None = None,
    on_start: Callable[[TeacherTrainer], None] = lambda trainer: None,
    pixels: PixelFormat = RGB,
) -> TrainedTeacher:
    """Train a teacher, save it in its folder and test it.

    The folder opens by `timm.create_model("local-dir:...", pretrained=True)` and, with this package imported, by
    `pipeline("image-classification")` of transformers. Of PaCo's networks only the classifier is saved.

    Args:
        args: all settings; the folder is `args.output_dir`.
        splits: `train` and `test` with `image` and `label` columns; a `validation` split is left alone.
        boundaries: of head/mid/tail, as `head_mid_tail` takes them.
        checkpoint: to resume from. Default: start anew.
        on_start: called with the trainer when all is built, before the first step. Default: nothing.
        pixels: of the images. Default: RGB.

    Raises:
        TeacherError: timm does not know the architecture, or it does not end in a linear layer as LDAM and PaCo need.
    """
    counts, names = class_counts(splits["train"]), splits["train"].features["label"].names
    classifier = build_classifier(args, len(counts), pixels.channels)
    images = {
        "train_dataset": training_images(args, splits["train"], pixels),
        "eval_dataset": test_images(args, splits["test"], pixels),
    }
    trainer = teacher_trainer(classifier, args, counts, boundaries, **images)
    on_start(trainer)
    output = trainer.train(resume_from_checkpoint=checkpoint)
    if args.should_save:
        _save(Path(args.output_dir), classifier, args, names, pixels)
    evaluation = trainer.test(trainer.eval_dataset)
    if args.should_save:
        accuracies = {
            name: per_class_accuracy(found, evaluation.labels, len(counts))
            for name, found in evaluation.predictions.items()
        }
        plot_class_accuracy(accuracies, counts, names, Path(args.output_dir, "plots", "class_accuracy.png"))
    trainer.accelerator.wait_for_everyone()
    forget_precision()
    seconds = output.metrics["train_runtime"]
    return TrainedTeacher(
        figures=evaluation.report["teacher"],
        best_epoch_on_test=best_epoch(trainer.state.log_history),
        seconds=seconds,
        images_per_second=trainer.images_per_second(seconds),
    )


def teacher_trainer(
    classifier: nn.Module, args: TeacherArguments, counts, boundaries=None, **images
) -> TeacherTrainer:
    """The trainer that a teacher's loss needs."""
    if args.loss != "paco":
        return TeacherTrainer(classifier, args, counts, boundaries, **images)
    model = PaCo(classifier, args.paco_dim, args.paco_queue, args.paco_momentum)
    return PaCoTrainer(model, args, counts, boundaries, **images)


def forget_precision() -> None:
    """Reset Accelerate's mixed precision, of which it keeps one per process, so that the next trainer sets its own."""
    AcceleratorState._reset_state()


def build_classifier(args: TeacherArguments, num_classes: int, channels: int = 3) -> nn.Module:
    """A timm model with fresh weights that depend on the seed alone, for LDAM with a cosine classifier.

    Args:
        args: of its training.
        num_classes: C.
        channels: of its images. Default 3.

    Raises:
        TeacherError: as `train_teacher`.
    """
    torch.manual_seed(args.seed)
    name, kwargs = args.architecture, _of_channels(channels)
    if args.loss == "ldam":
        name, kwargs = "cosine_classifier", {"backbone": args.architecture, **kwargs}
    try:
        model = timm.create_model(name, num_classes=num_classes, **kwargs)
        if args.loss == "paco" and type(model.get_classifier()) is not nn.Linear:
            raise ValueError("paco needs a model that ends in one linear layer")
        with torch.no_grad():
            model.eval()(torch.zeros(1, channels, args.image_size, args.image_size))
            model.train()
    # An unknown name; no linear layer to replace; a network that its images are too small for, or of another size.
    except (RuntimeError, ValueError, AssertionError) as error:
        raise TeacherError(
            f"teacher architecture {args.architecture}, {args.image_size} px: {str(error).splitlines()[0]}"
        ) from error
    return model


def _of_channels(channels: int) -> dict:
    """What a timm model is told about them."""
    return {} if channels == 3 else {"in_chans": channels}


def training_images(args: TeacherArguments, dataset: Dataset, pixels: PixelFormat) -> TrainingImages:
    """The augmented training images; two views of each for PaCo."""
    return augmented(args.image_pipeline, dataset, args.transforms, args.image_size, args.device, args.seed, pixels)


def test_images(args: TeacherArguments, dataset: Dataset, pixels: PixelFormat) -> TorchDataset:
    """The test images."""
    size = args.image_size
    processor = image_processor(size, args.crop_ratio, pixels)
    return evaluation_images(args.image_pipeline, dataset, processor, size, args.device)


def best_epoch(log_history: list[dict]) -> dict | None:
    """Figures of the evaluated epoch with the highest test accuracy, the first of several; None without any."""
    rows = [row for row in log_history if "eval_accuracy" in row]
    if not rows:
        return None
    best = max(rows, key=lambda row: row["eval_accuracy"])
    return {"epoch": best["epoch"], **{name: best.get(f"eval_{name}") for name in METRICS}}


def _save(folder: Path, model: nn.Module, args: TeacherArguments, names: list[str], pixels: PixelFormat) -> None:
    """The model as timm and transformers read it; the trainer's own stays where and as it is."""
    processor = image_processor(args.image_size, args.crop_ratio, pixels)
    backbone = {"backbone": args.architecture} if args.loss == "ldam" else {}
    shape = (pixels.channels, args.image_size, args.image_size)
    processor.save_pretrained(folder)
    save_for_hf(
        copy.deepcopy(model).cpu().to(memory_format=torch.contiguous_format),
        str(folder),
        # Without its name transformers would prepare images by timm's transform, which resizes by other arithmetic.
        model_config={"label_names": names, "image_processor_type": type(processor).__name__},
        model_args=backbone | _of_channels(pixels.channels),
        safe_serialization=True,
        data_config={"input_size": shape, "crop_pct": args.crop_ratio, "mean": pixels.mean, "std": pixels.std},
    )
    # timm writes the number of classes twice, and transformers would give both to the model.
    path = folder / "config.json"
    config = json.loads(path.read_text())
    del config["model_args"]["num_classes"]
    path.write_text(json.dumps(config, indent=2) + "\n")
