"""Training a teacher: cross-entropy or LDAM, each with deferred re-weighting if asked."""

from __future__ import annotations

import json
from pathlib import Path

import timm
import torch
from datasets import DatasetDict
from timm.models import save_for_hf
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import Dataset as TorchDataset
from transformers import Trainer

from trainer.arguments import TeacherArguments
from trainer.augmentation import EvaluationImages, TrainingImages, TrainingSampler, image_processor, train_transform
from trainer.callbacks import HistoryCallback
from trainer.data import class_counts
from trainer.errors import TeacherError
from trainer.evaluation import expert_report
from trainer.losses import LDAMLoss, weighted_cross_entropy
from trainer.reweighting import effective_number_weights
from trainer.teachers import cifar_resnet  # noqa: F401  (registers the CIFAR ResNets with timm)


class TeacherTrainer(Trainer):
    """Trains a CNN on long-tailed images.

    Args:
        model: images to logits; a cosine classifier's for LDAM.
        args: `TeacherArguments`.
        counts: (C,) training images per class.
        train_dataset: `TrainingImages`.
        eval_dataset: `EvaluationImages`.
    """

    loss_is_scaled_for_ga = False

    def __init__(self, model: nn.Module, args: TeacherArguments, counts, **kwargs):
        super().__init__(model, args, **kwargs)
        self.model_accepts_loss_kwargs = False
        self.counts = torch.as_tensor(counts)
        self.class_weights = effective_number_weights(self.counts, args.drw_beta).to(args.device)
        self.ldam = LDAMLoss(self.counts, args.max_margin).to(args.device) if args.loss == "ldam" else None

    def _get_train_sampler(self, train_dataset: TorchDataset | None = None) -> TrainingSampler:
        return TrainingSampler(len(train_dataset or self.train_dataset), repeats=1, seed=self.args.seed)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Mean loss of one batch, re-weighted from `drw_start_epoch` on (LDAM-DRW, Cao et al. 2019, algorithm 1)."""
        logits = model(inputs["pixel_values"])
        weights = self.class_weights if self.args.in_drw(self.state.epoch) and model.training else None
        if self.ldam is not None and model.training:
            self.ldam.class_weights = weights
            loss = self.ldam(logits, inputs["labels"])
        else:
            loss = weighted_cross_entropy(logits, inputs["labels"], weights)
        return (loss, {"logits": logits}) if return_outputs else loss

    def create_optimizer(self, model=None) -> torch.optim.Optimizer:
        """SGD with weight decay on every parameter, as the teachers' source recipes have it."""
        if self.optimizer is None:
            args = self.args
            self.optimizer = torch.optim.SGD(
                self.model.parameters(), args.learning_rate, momentum=args.momentum, weight_decay=args.weight_decay
            )
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer=None):
        """Linear warm-up and a step at each milestone, or Trainer's own schedule where there are no milestones."""
        args = self.args
        if not args.lr_milestones or self.lr_scheduler is not None:
            return super().create_scheduler(num_training_steps, optimizer)
        steps_per_epoch = num_training_steps / args.num_train_epochs

        def factor(step: int) -> float:
            epoch = int(step / steps_per_epoch)
            if epoch < args.warmup_epochs:
                return (epoch + 1) / args.warmup_epochs
            return args.lr_decay ** sum(epoch >= milestone for milestone in args.lr_milestones)

        self.lr_scheduler = LambdaLR(optimizer or self.optimizer, factor)
        return self.lr_scheduler


def train_teacher(
    args: TeacherArguments,
    splits: DatasetDict,
    boundaries=None,
    facts: dict | None = None,
    checkpoint: str | None = None,
) -> dict:
    """Train a teacher, test it and write its folder.

    The folder holds config.json and model.safetensors as `timm.create_model("local-dir:...")` reads them, and
    `metrics.json`, which is written last: its presence means that the teacher is complete.

    Args:
        args: all settings; the folder is `args.output_dir`.
        splits: `train` and `test` with `image` and `label` columns; a `validation` split is left alone.
        boundaries: of head/mid/tail, as `head_mid_tail` takes them.
        facts: what else `metrics.json` should hold, such as the data settings.
        checkpoint: to resume from. Default: start anew.

    Returns:
        The contents of `metrics.json`; `teacher` holds the test figures.

    Raises:
        TeacherError: timm does not know the architecture, or it has no cosine classifier for LDAM.
    """
    counts = class_counts(splits["train"])
    names = splits["train"].features["label"].names
    model_args = {"cosine_classifier": True} if args.loss == "ldam" else {}
    torch.manual_seed(args.seed)
    try:
        model = timm.create_model(args.architecture, num_classes=len(counts), **model_args)
    except (RuntimeError, TypeError) as error:  # an unknown name; an architecture without a cosine classifier
        raise TeacherError(
            f"teacher architecture {args.architecture} with loss {args.loss}: {str(error).splitlines()[0]}; ldam "
            "needs one of resnet8/20/32/56_cifar, cross_entropy takes any timm model"
        ) from error
    trainer = TeacherTrainer(
        model,
        args,
        counts,
        train_dataset=TrainingImages(
            splits["train"], train_transform(args.train_transform, args.image_size), args.seed
        ),
        eval_dataset=EvaluationImages(splits["test"], image_processor(args.image_size, args.crop_ratio)),
        callbacks=[HistoryCallback()],
    )
    output = trainer.train(resume_from_checkpoint=checkpoint)
    predictions = trainer.predict(trainer.eval_dataset)
    report = expert_report({"teacher": predictions.predictions}, predictions.label_ids, counts, boundaries)
    metrics = {
        "teacher": report["teacher"],
        "architecture": args.architecture,
        "loss": args.loss,
        "epochs": args.num_train_epochs,
        "seed": args.seed,
        "class_counts": counts.tolist(),
        "wall_seconds": round(output.metrics["train_runtime"], 1),
        "images_per_second": round(output.metrics["train_samples_per_second"], 1),
        **(facts or {}),
    }
    if args.should_save:
        _save_teacher(Path(args.output_dir), model, model_args, args.image_size, names, metrics)
    trainer.accelerator.wait_for_everyone()
    return metrics


def _save_teacher(folder: Path, model: nn.Module, model_args: dict, image_size: int, names: list, metrics: dict):
    save_for_hf(
        model.cpu(),
        str(folder),
        model_config={"label_names": names},
        model_args=model_args,
        safe_serialization=True,
        data_config={"input_size": (3, image_size, image_size)},
    )
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")


def is_complete(folder: Path) -> bool:
    """Whether a teacher's training in this folder ran to its end."""
    return all((folder / name).is_file() for name in ("config.json", "model.safetensors", "metrics.json"))
