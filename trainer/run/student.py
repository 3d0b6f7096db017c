"""Third step of a run: the student, trained, saved, tested."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from datasets import Dataset
from torch import nn
from torch.utils.data import Dataset as TorchDataset

from modeling_deit_lt import DeiTLTForImageClassification
from trainer.augmentation import TrainingImages, evaluation_images, image_processor
from trainer.augmentation import training_images as augmented
from trainer.callbacks import copied
from trainer.checkpoints import load_student
from trainer.data import PixelFormat
from trainer.errors import RunError
from trainer.evaluating import Evaluation
from trainer.ranks import from_first_rank, load_from_first_rank, on_first_rank
from trainer.run.data import RunData
from trainer.run.findings import Outcome, findings
from trainer.run.progress import STUDENT, TESTS, Progress
from trainer.run.recipes import StudentRecipe
from trainer.run.teacher import RunTeacher
from trainer.settings import deciding_settings
from trainer.students import build_student
from trainer.trainer import DeiTLTTrainer

SELECTION_SPLIT = {"last": None, "validation": "validation", "paper": "test"}


@dataclass(frozen=True)
class Run:
    """A run that is done.

    Attributes:
        recipe: what was asked for.
        data: of the run.
        teacher: its teacher, or None.
        teacher_accuracy: on augmented training images, balanced, in percent; None without a teacher.
        model: the student with the weights that `model_selection` chose, which are those in the folder.
        reports: the expert report of `last`, `ema` (None without averaging) and `best` (None for the last epoch's).
        evaluation: of the model on the test split.
        first_step: optimiser step at which this process took the training up.
        seconds, images_per_second: of this process's training.
    """

    recipe: StudentRecipe
    data: RunData
    teacher: RunTeacher | None
    teacher_accuracy: float | None
    model: DeiTLTForImageClassification
    reports: dict[str, dict | None]
    evaluation: Evaluation
    first_step: int
    seconds: float
    images_per_second: float

    @property
    def folder(self) -> Path:
        """Where the model and all reports are."""
        return Path(self.recipe.training.output_dir)

    @property
    def example(self) -> str:
        """Name of the file in the folder that an image can be tried with."""
        return "example.png" if self.data.pixels.channels in (1, 3) else "example.npy"

    @property
    def chosen(self) -> dict:
        """The report of the weights that were saved."""
        return self.reports["best"] or self.reports["last"]

    @cached_property
    def outcome(self) -> Outcome:
        """What the findings rest on."""
        return Outcome(
            recipe=self.recipe,
            names=self.data.names,
            counts=self.data.counts,
            labels=self.evaluation.labels,
            predicted={expert: found.classes for expert, found in self.evaluation.predictions.items()},
            experts=self.chosen,
            teacher=self.teacher and self.teacher.figures,
            teacher_accuracy=self.teacher_accuracy,
        )

    @cached_property
    def findings(self) -> list[str]:
        """What stands out, in plain words, most important first; empty where nothing does."""
        return findings(self.outcome)

    @property
    def metrics(self) -> dict:
        """What metrics.json holds."""
        args, data = self.recipe.training, self.data
        return {
            "class_counts": data.counts,
            "groups": data.groups,
            "group_boundaries": data.settings.group_boundaries,
            "data": deciding_settings(data.settings),
            "teacher": self.teacher and self.teacher.figures,
            "teacher_accuracy_on_training_images": self.teacher_accuracy,
            **self.reports,
            "findings": self.findings,
            "resumed_from_step": self.first_step,
            "wall_seconds": round(self.seconds, 1),
            "images_per_second": round(self.images_per_second, 1),
            "device": args.device_in_words,
            "recipe": self.recipe.name,
            "seed": args.seed,
            "epochs": args.num_train_epochs,
            "per_device_train_batch_size": args.train_batch_size,
            "gradient_accumulation_steps": args.gradient_accumulation_steps,
            "model_selection": args.model_selection,
        }


def training_images(recipe: StudentRecipe, rows: Dataset, pixels: PixelFormat) -> TrainingImages:
    """The augmented training images of a student, of all rows or some."""
    args, size = recipe.training, recipe.model.image_size
    return augmented(args.image_pipeline, rows, args.transforms, size, args.device, args.seed, pixels)


def test_images(recipe: StudentRecipe, rows: Dataset, pixels: PixelFormat) -> TorchDataset:
    """Images of a split as a student is tested on them."""
    args, size = recipe.training, recipe.model.image_size
    processor = image_processor(size, args.crop_ratio, pixels)
    return evaluation_images(args.image_pipeline, rows, processor, size, args.device)


def build_trainer(recipe: StudentRecipe, data: RunData, teacher: RunTeacher | None) -> DeiTLTTrainer:
    """The trainer of a run, ready to train."""
    args = recipe.training
    split = SELECTION_SPLIT[args.model_selection]
    return DeiTLTTrainer(
        build_student(recipe.model, data.names, data.counts, args, data.pixels.channels),
        args,
        teacher and teacher.teacher,
        data.settings.boundaries,
        train_dataset=training_images(recipe, data.train, data.pixels),
        eval_dataset=test_images(recipe, data.splits[split], data.pixels) if split else None,
        processing_class=image_processor(recipe.model.image_size, args.crop_ratio, data.pixels),
    )


def train_student(
    trainer: DeiTLTTrainer,
    recipe: StudentRecipe,
    data: RunData,
    progress: Progress,
    teacher: RunTeacher | None = None,
    teacher_accuracy: float | None = None,
    checkpoint: str | None = None,
) -> Run:
    """Train a student, save it, and then test it.

    Args:
        trainer: from `build_trainer`.
        recipe, data, teacher, teacher_accuracy: as in `Run`.
        progress: shows the training and the tests.
        checkpoint: to resume from. Default: start anew.
    """
    progress.attach(trainer, STUDENT)
    seconds = trainer.train(resume_from_checkpoint=checkpoint).metrics["train_runtime"]
    progress.begin(TESTS)
    reports, evaluation = save_and_test(trainer, test_images(recipe, data.splits["test"], data.pixels))
    return Run(
        recipe=recipe,
        data=data,
        teacher=teacher,
        teacher_accuracy=teacher_accuracy,
        model=trainer.model,
        reports=reports,
        evaluation=evaluation,
        first_step=trainer.history.first_step,
        seconds=seconds,
        images_per_second=trainer.images_per_second(seconds),
    )


def save_and_test(trainer: DeiTLTTrainer, test_images: TorchDataset) -> tuple[dict[str, dict | None], Evaluation]:
    """Save the weights that `model_selection` chose, then test them, the last ones and their average.

    Args:
        trainer: after its training; its model keeps the chosen weights.
        test_images: evaluation images with labels.

    Returns:
        The reports and the evaluation of a `Run`.
    """
    last, best = copied(trainer.model.state_dict()), None
    if trainer.args.model_selection != "last":
        best = from_first_rank(lambda: best_checkpoint(trainer))
        load_from_first_rank(trainer.model, on_first_rank(lambda: load_student(best).state_dict()))
    trainer.save_model()
    evaluation = trainer.test(test_images)
    reports = {"last": evaluation.report, "best": None, "ema": None}
    if best is not None:
        reports["best"] = reports["last"]
        with weights_of(trainer.model, last):
            reports["last"] = trainer.test(test_images).report
    if trainer.ema_callback is not None:
        with weights_of(trainer.model, trainer.ema_callback.weights):
            reports["ema"] = trainer.test(test_images).report
    return reports, evaluation


def best_checkpoint(trainer: DeiTLTTrainer) -> str:
    """The folder of the checkpoint that the selection chose; the first rank alone knows it.

    Raises:
        RunError: there is none.
    """
    best = trainer.state.best_model_checkpoint
    if best is None:
        raise RunError(f"no checkpoint was there for model_selection {trainer.args.model_selection} to choose")
    return best


@contextmanager
def weights_of(model: nn.Module, state: dict[str, torch.Tensor]) -> Iterator[None]:
    """Context manager: give a model other weights, and afterwards its own again."""
    own = copied(model.state_dict())
    model.load_state_dict(state)
    try:
        yield
    finally:
        model.load_state_dict(own)
