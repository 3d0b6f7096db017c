"""Training a teacher from data to a folder: build the network, train, test, save."""

from __future__ import annotations

import json
from pathlib import Path

import timm
import torch
from accelerate.state import AcceleratorState
from datasets import Dataset, DatasetDict
from timm.models import save_for_hf
from torch import nn
from torch.utils.data import Dataset as TorchDataset

from trainer.arguments import TeacherArguments
from trainer.augmentation import EvaluationImages, TrainingImages, image_processor, train_transform
from trainer.augmentation.device_images import DeviceEvaluationImages, DeviceImages, collate
from trainer.data import class_counts
from trainer.errors import TeacherError
from trainer.evaluation import METRICS, per_class_accuracy, plot_class_accuracy
from trainer.teachers import cifar_resnet, cosine  # noqa: F401  (register their models with timm)
from trainer.teachers.paco import PaCo, PaCoTrainer
from trainer.teachers.trainer import TeacherTrainer

# Raise it when the same settings come to give another teacher: one of another version is trained anew, not reused.
TRAINING_VERSION = 2


def train_teacher(
    args: TeacherArguments,
    splits: DatasetDict,
    boundaries=None,
    facts: dict | None = None,
    checkpoint: str | None = None,
) -> dict:
    """Train a teacher, test it and write its folder.

    The folder holds config.json and model.safetensors as `timm.create_model("local-dir:...")` reads them, and
    `metrics.json`, which is written last: its presence means that the teacher is complete. Of PaCo's networks only
    the classifier is saved.

    Args:
        args: all settings; the folder is `args.output_dir`.
        splits: `train` and `test` with `image` and `label` columns; a `validation` split is left alone.
        boundaries: of head/mid/tail, as `head_mid_tail` takes them.
        facts: what else `metrics.json` should hold, such as the data settings.
        checkpoint: to resume from. Default: start anew.

    Returns:
        The contents of `metrics.json`. `teacher` holds the test figures of the last epoch, whose weights are saved.
        `best_epoch_on_test` holds those of the epoch with the highest test accuracy, with its number: how teachers'
        figures are published, and too high by the choice. It is None without `eval_strategy`. `wall_seconds` and
        `images_per_second` are of this process, evaluations included.

    Raises:
        TeacherError: timm does not know the architecture, or it does not end in a linear layer as LDAM and PaCo need.
    """
    counts = class_counts(splits["train"])
    classifier = build_classifier(args, len(counts))
    shared = {
        "args": args,
        "counts": counts,
        "boundaries": boundaries,
        "train_dataset": training_images(args, splits["train"]),
        "eval_dataset": test_images(args, splits["test"]),
        "data_collator": collate,
    }
    if args.loss == "paco":
        trainer = PaCoTrainer(PaCo(classifier, args.paco_dim, args.paco_queue, args.paco_momentum), **shared)
    else:
        trainer = TeacherTrainer(classifier, **shared)
    output = trainer.train(resume_from_checkpoint=checkpoint)
    predictions = trainer.predict(trainer.eval_dataset)
    logits, labels = predictions.predictions, predictions.label_ids
    seconds = output.metrics["train_runtime"]
    metrics = {
        "teacher": trainer.report(predictions),
        "best_epoch_on_test": best_epoch(trainer.state.log_history),
        **recipe_facts(args),
        "class_counts": counts.tolist(),
        "wall_seconds": round(seconds, 1),
        "images_per_second": round(trainer.images_per_second(seconds), 1),
        **(facts or {}),
    }
    if args.should_save:
        names = splits["train"].features["label"].names
        accuracies = {"teacher": per_class_accuracy(logits, labels, len(counts))}
        plot_class_accuracy(accuracies, counts, names, Path(args.output_dir, "plots", "class_accuracy.png"))
        _save(Path(args.output_dir), classifier, args, names, metrics)
    trainer.accelerator.wait_for_everyone()
    AcceleratorState._reset_state()  # its precision is one per process, and the student's may be another
    return metrics


def build_classifier(args: TeacherArguments, num_classes: int) -> nn.Module:
    """A timm model with fresh weights that depend on the seed alone, for LDAM with a cosine classifier.

    Raises:
        TeacherError: as `train_teacher`.
    """
    torch.manual_seed(args.seed)
    name, kwargs = args.architecture, {}
    if args.loss == "ldam":
        name, kwargs = "cosine_classifier", {"backbone": args.architecture}
    try:
        model = timm.create_model(name, num_classes=num_classes, **kwargs)
        if args.loss == "paco" and type(model.get_classifier()) is not nn.Linear:
            raise ValueError("paco needs a model that ends in one linear layer")
        with torch.no_grad():
            model.eval()(torch.zeros(1, 3, args.image_size, args.image_size))
            model.train()
    # An unknown name; no linear layer to replace; a network that its images are too small for, or of another size.
    except (RuntimeError, ValueError, AssertionError) as error:
        raise TeacherError(
            f"teacher architecture {args.architecture}, {args.image_size} px: {str(error).splitlines()[0]}"
        ) from error
    return model


def training_images(args: TeacherArguments, dataset: Dataset) -> TorchDataset:
    """The augmented training images, on the device or from the loader; two views of each for PaCo."""
    names = [args.train_transform, *([args.second_transform] if args.loss == "paco" else [])]
    if args.images_on_device:
        return DeviceImages(dataset, names, args.image_size, args.device, args.seed)
    first, second = [*(train_transform(name, args.image_size) for name in names), None][:2]
    return TrainingImages(dataset, first, args.seed, second)


def test_images(args: TeacherArguments, dataset: Dataset) -> TorchDataset:
    """The test images, on the device where the training images are."""
    images = EvaluationImages(dataset, image_processor(args.image_size, args.crop_ratio))
    return DeviceEvaluationImages(images, args.image_size, args.device) if args.images_on_device else images


def best_epoch(log_history: list[dict]) -> dict | None:
    """Figures of the evaluated epoch with the highest test accuracy, the first of several; None without any."""
    rows = [row for row in log_history if "eval_accuracy" in row]
    if not rows:
        return None
    best = max(rows, key=lambda row: row["eval_accuracy"])
    return {"epoch": best["epoch"], **{name: best.get(f"eval_{name}") for name in METRICS}}


def recipe_facts(args: TeacherArguments) -> dict:
    """The settings that say what kind of teacher this is."""
    keys = ("architecture", "loss", "sam_rho", "sam_milestones", "drw_start_epoch", "learning_rate", "lr_milestones")
    facts = {key: getattr(args, key) for key in keys}
    return {**facts, "epochs": args.num_train_epochs, "batch_size": args.global_batch_size, "seed": args.seed}


def _save(folder: Path, model: nn.Module, args: TeacherArguments, names: list, metrics: dict) -> None:
    save_for_hf(
        model.cpu().to(memory_format=torch.contiguous_format),
        str(folder),
        model_config={"label_names": names},
        model_args={"backbone": args.architecture} if args.loss == "ldam" else {},
        safe_serialization=True,
        data_config={"input_size": (3, args.image_size, args.image_size), "crop_pct": args.crop_ratio},
    )
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")


def is_complete(folder: Path) -> bool:
    """Whether a teacher's training in this folder ran to its end."""
    return all((folder / name).is_file() for name in ("config.json", "model.safetensors", "metrics.json"))
