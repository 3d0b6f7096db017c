"""Dry run: build all that a training needs for two classes, without images, to refuse wrong settings at once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from huggingface_hub import get_token, whoami
from huggingface_hub.constants import is_offline_mode
from torch.optim.lr_scheduler import LambdaLR
from transformers import Trainer

from trainer.augmentation import image_processor, try_transforms
from trainer.base_arguments import RunArguments
from trainer.data import blank_format
from trainer.errors import DeiTLTError, RunError
from trainer.machine import memory_of
from trainer.parsing import in_one_line
from trainer.ranks import whole_networks
from trainer.run.recipes import StudentRecipe, TeacherRecipe
from trainer.students import build_student
from trainer.teachers.training import build_classifier, forget_precision, teacher_trainer
from trainer.trainer import DeiTLTTrainer

STEPS = 100  # of a schedule that is only built
GIBIBYTE = 2**30


def dry_run_student(recipe: StudentRecipe) -> None:
    """Build a student, its trainer, optimiser and schedule, and let it look at a blank image.

    Raises:
        RunError: one line on what cannot be.
    """
    args, size, channels = recipe.training, recipe.model.image_size, recipe.data.num_channels
    with refused_as("student"):
        check_machine(args, max(size, args.teacher_image_size or 0), channels)
        of_two_classes = recipe.model, ["0", "1"], [1, 1], args, channels
        with torch.device("meta"):
            sketch = build_student(*of_two_classes)
        weights = 4 * sum(parameter.numel() for parameter in sketch.parameters())
        check_memory(args, weights, "the student's weights", "lower its sizes, or take a smaller preset")
        try_transforms(args.image_pipeline, args.transforms, size, channels)
        processor = image_processor(size, args.crop_ratio, blank_format(channels))
        teacher = None if args.teacher is None else torch.nn.Identity()  # stands for it, and is not asked
        trainer = DeiTLTTrainer(build_student(*of_two_classes), args, teacher, processing_class=processor)
        trainer.create_optimizer_and_scheduler(STEPS)
        check_learning_rates(trainer)
        with torch.no_grad(), trainer.accelerator.autocast():
            trainer.model.eval()(torch.zeros(1, channels, size, size, device=trainer.model.device))
        if trainer.is_fsdp_enabled:
            replace(args)  # new arguments reset what Accelerate knows of the process; the next trainer would lack FSDP


def dry_run_teacher(recipe: TeacherRecipe, channels: int) -> None:
    """Build a teacher, its trainer, optimiser and schedule.

    Args:
        recipe: the teacher's.
        channels: of the images of the run that it is for.

    Raises:
        RunError, TeacherError: one line on what cannot be.
    """
    args = recipe.training
    with refused_as("teacher"), whole_networks():
        check_machine(args, args.image_size, channels)
        try_transforms(args.image_pipeline, args.transforms, args.image_size, channels)
        # Trainer refuses to evaluate each epoch without a data set.
        trainer = teacher_trainer(build_classifier(args, 2, channels), args, [1, 1], eval_dataset=[])
        trainer.create_optimizer_and_scheduler(STEPS)
        check_learning_rates(trainer)


def check_machine(args: RunArguments, size: int, channels: int) -> None:
    """Refuse what this machine does not have: a GPU for fp16, memory for a batch, a package, a way to the Hub.

    Args:
        args: of the run.
        size: side of the largest images in pixels.
        channels: of an image.

    Raises:
        RunError: it names the setting.
    """
    if args.mixed_precision == "fp16" and args.device.type == "cpu":
        raise RunError("precision fp16 needs a GPU; set precision bf16 or float32")
    for name, images in (("train", args.train_batch_size), ("eval", args.eval_batch_size)):
        remedy = f"lower per_device_{name}_batch_size"
        check_memory(args, 4 * channels * images * size**2, f"a batch of {images} images of {size} px", remedy)
    if args.push_to_hub and is_offline_mode():
        raise RunError("push_to_hub: HF_HUB_OFFLINE is set; unset it, or leave push_to_hub out")
    if args.push_to_hub:
        check_token(args.hub_token or get_token())


def check_token(token: str | None) -> None:
    """Refuse to push without a token that the Hub knows: what a run has made would be pushed at its end.

    Raises:
        RunError: there is none, the Hub does not know it, or does not answer.
    """
    if not token:
        raise RunError("push_to_hub: there is no token; run `hf auth login`, or leave push_to_hub out")
    try:
        whoami(token)
    except Exception as error:  # of the network or the Hub
        raise RunError(
            f"push_to_hub: the Hub does not take the token or does not answer ({in_one_line(error)}); mend it, or "
            "leave push_to_hub out"
        ) from error


def check_memory(args: RunArguments, needed: int, what: str, remedy: str) -> None:
    """Refuse what alone exceeds the memory of the device; how much a training needs is found out on its images.

    Raises:
        RunError: it says how much is needed.
    """
    there = memory_of(args.device)
    if needed > there:
        raise RunError(
            f"{what} alone would take {needed / GIBIBYTE:,.0f} GiB of memory, {args.device.type} has "
            f"{there / GIBIBYTE:,.0f}; {remedy}"
        )


def check_learning_rates(trainer: Trainer) -> None:
    """Refuse a schedule that leaves the numbers from 0 on, such as one with a negative floor.

    Raises:
        RunError: it says at which share of the run.
    """
    schedule = trainer.lr_scheduler
    if not isinstance(schedule, LambdaLR):
        return
    for step in range(STEPS):
        for base, factor in zip(schedule.base_lrs, schedule.lr_lambdas, strict=True):
            if not 0 <= base * factor(step) < math.inf:
                raise RunError(
                    f"the learning rate would be {base * factor(step):.3g} after {step / STEPS:.0%} of the run; "
                    "check lr_scheduler_kwargs"
                )


@contextmanager
def refused_as(what: str) -> Iterator[None]:
    """Any error is a refusal here: nothing but settings can be at fault, and each library has errors of its own."""
    try:
        yield
    except DeiTLTError as error:
        if str(error).startswith(what):
            raise
        raise type(error)(f"{what}: {error}") from error
    except Exception as error:
        raise RunError(f"{what}: these settings do not work together ({in_one_line(error)})") from error
    finally:
        forget_precision()
