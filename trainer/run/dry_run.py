"""Dry run: build all that a training needs for two classes, without images, to refuse wrong settings at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from PIL import Image

from trainer.augmentation import train_transform
from trainer.errors import DeiTLTError, RunError
from trainer.ranks import whole_networks
from trainer.run.recipes import StudentRecipe, TeacherRecipe
from trainer.students import build_student
from trainer.teachers.training import build_classifier, forget_precision, teacher_trainer
from trainer.trainer import DeiTLTTrainer

STEPS = 100  # of a schedule that is only built


def dry_run_student(recipe: StudentRecipe) -> None:
    """Build a student, its trainer, optimiser and schedule, and let it look at a blank image.

    Raises:
        RunError: one line on what cannot be.
    """
    args, size = recipe.training, recipe.model.image_size
    with refused_as("student"):
        train_transform(args.train_transform, size)(Image.new("RGB", (size, size)))
        teacher = None if args.teacher is None else torch.nn.Identity()  # stands for it, and is not asked
        trainer = DeiTLTTrainer(build_student(recipe.model, ["0", "1"], [1, 1], args.seed), args, teacher)
        trainer.create_optimizer_and_scheduler(STEPS)
        with torch.no_grad(), trainer.accelerator.autocast():
            trainer.model.eval()(torch.zeros(1, 3, size, size, device=trainer.model.device))
        if trainer.is_fsdp_enabled:
            replace(args)  # new arguments reset what Accelerate knows of the process; the next trainer would lack FSDP


def dry_run_teacher(recipe: TeacherRecipe) -> None:
    """Build a teacher, its trainer, optimiser and schedule.

    Raises:
        RunError, TeacherError: one line on what cannot be.
    """
    args = recipe.training
    with refused_as("teacher"), whole_networks():
        for name in args.transforms:
            train_transform(name, args.image_size)(Image.new("RGB", (args.image_size, args.image_size)))
        teacher_trainer(build_classifier(args, 2), args, [1, 1]).create_optimizer_and_scheduler(STEPS)


@contextmanager
def refused_as(what: str) -> Iterator[None]:
    """Any error is a refusal here: nothing but settings can be at fault, and each library has errors of its own."""
    try:
        yield
    except DeiTLTError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RunError(f"{what}: these settings do not work together ({reason})") from error
    finally:
        forget_precision()
