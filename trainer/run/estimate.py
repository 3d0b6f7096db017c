"""How long a run will take, from a few steps of throwaway networks on its own images, before anything is trained."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import Trainer

from trainer.augmentation import ImageKey, TrainingSampler, collate
from trainer.base_arguments import RunArguments
from trainer.callbacks import copied
from trainer.errors import RunError
from trainer.resuming import share_done
from trainer.run import student
from trainer.run.data import RunData
from trainer.run.dry_run import refused_as
from trainer.run.progress import CHECK, STUDENT, TEACHER, TESTS
from trainer.run.recipes import StudentRecipe
from trainer.run.teacher import TeacherPlan, finished_teacher, of_all_ranks
from trainer.students import build_student, checkpoint_layers
from trainer.teachers import Teacher, TeacherTrainer, as_teacher
from trainer.teachers.arguments import TeacherArguments
from trainer.teachers.checking import CHECKED_IMAGES
from trainer.teachers.loading import Classifier
from trainer.teachers.training import build_classifier, forget_precision, training_images
from trainer.terminal import in_words
from trainer.trainer import DeiTLTTrainer

FEW = 8  # images of a first try, so that a machine that is far too slow costs seconds
TIMED_STEPS = 3
PATIENCE = 8.0  # seconds; where whole batches would take a CPU longer the few images have to do
DAY = 24 * 3600


class BatchTooLarge(RunError):
    """The memory of the device does not suffice for a student's batch."""


def estimate_student(
    recipe: StudentRecipe, data: RunData, teacher: Teacher | None, done: float = 0.0
) -> dict[str, float]:
    """Seconds of a student's check, training and tests.

    Args:
        recipe: the student's.
        data: of the run.
        teacher: a network of the size of its teacher, or None.
        done: share of the training that an earlier process did. Default 0.

    Raises:
        BatchTooLarge: the memory of the device does not suffice.
    """
    args = recipe.training
    images = student.training_images(recipe, few_rows(data.train, args), data.pixels)
    model = build_student(recipe.model, data.names, data.counts, args, data.pixels.channels)
    trainer = DeiTLTTrainer(model, args, teacher, train_dataset=images)
    if args.gradient_checkpointing:
        checkpoint_layers(model, args.gradient_checkpointing_kwargs)
    # What a training holds besides: the weight average, and the ranks' gradients on their way.
    beside = [copied(trainer.model.state_dict()) for _ in range(bool(args.ema_decay) + (args.world_size > 1))]

    def loss(batch: dict) -> torch.Tensor:
        # Without what ranks do together: each goes its own way here.
        return trainer.compute_loss(trainer.model.train(), trainer._labelled(trainer._prepare_inputs(batch), 0))

    try:
        loading, step = _seconds_per_image(trainer, images, loss)
    except torch.OutOfMemoryError as error:
        raise BatchTooLarge(f"{_too_large(args)}, or set auto_find_batch_size") from error
    del beside
    training = _of_training(args, len(data.train), loading, step)
    # A forward pass is a third of a step.
    testing = len(data.splits["test"]) * args.tested_weights * _together(args, loading, step / 3) / args.world_size
    check = {} if teacher is None else {CHECK: CHECKED_IMAGES * (loading + step / 3)}
    return {**check, STUDENT: (1 - done) * training, TESTS: testing}


def estimate_teacher(args: TeacherArguments, data: RunData) -> float:
    """Seconds of a teacher's training by any loss, measured by cross-entropy.

    Raises:
        RunError: the memory of the device does not suffice.
    """
    images = training_images(args, few_rows(data.train, args), data.pixels)
    classifier = build_classifier(args, len(data.counts), data.pixels.channels)
    trainer = TeacherTrainer(classifier, args, data.counts, train_dataset=images, eval_dataset=images)  # never asked

    def loss(batch: dict) -> torch.Tensor:
        return trainer.compute_loss(trainer.model.train(), trainer._prepare_inputs(batch))

    try:
        loading, step = _seconds_per_image(trainer, images, loss)
    except torch.OutOfMemoryError as error:
        raise RunError(_too_large(args)) from error
    # SAM steps twice; PaCo's keys are one more forward pass, a third of a step.
    passes = (2 if any(args.sam_rho) else 1) + (1 / 3 if args.loss == "paco" else 0)
    return _of_training(args, len(data.train), loading, passes * step)


def estimate_run(
    plan: TeacherPlan | None, recipe: StudentRecipe, data: RunData, checkpoint: str | None
) -> dict[str, float]:
    """Seconds of each stage of a student's run, in order.

    Args:
        plan, recipe, data: as for `obtain_teacher`.
        checkpoint: of the student, from which the run goes on, or None.

    Returns:
        Nothing where a network is spread over several devices, and may be too large for one.

    Raises:
        RunError: a step of the teacher or the student cannot be taken.
    """
    if is_sharded(recipe.training):
        return {}
    if plan is None:
        with refused_as("student"):
            return estimate_student(recipe, data, None, share_done(checkpoint))
    own, args, classes = plan.recipe, recipe.training, len(data.names)
    size, normalization = args.teacher_image_size, args.teacher_normalization
    seconds, classifier = {}, plan.classifier
    if own is not None:
        network = build_classifier(own.training, classes, data.pixels.channels)
        mean, std = data.pixels.mean, data.pixels.std
        size_of_own, bits = own.training.image_size, data.pixels.bits
        classifier = Classifier(own.name, network, classes, None, size_of_own, mean, std, bits)
        if finished_teacher(own, recipe, data) is None:
            with refused_as("teacher"):
                seconds[TEACHER] = estimate_teacher(of_all_ranks(own), data)
    teacher = as_teacher(classifier, classes, size, normalization, data.names, plan.outputs, data.pixels)
    with refused_as("student"):
        return seconds | estimate_student(recipe, data, teacher, share_done(checkpoint))


def is_sharded(args: RunArguments) -> bool:
    """Whether FSDP or DeepSpeed divides the network."""
    launched = (os.environ.get(f"ACCELERATE_USE_{name}", "false") for name in ("FSDP", "DEEPSPEED"))
    return bool(args.fsdp or args.deepspeed) or "true" in launched


def few_rows(rows: Dataset, args: RunArguments) -> Dataset:
    """Rows enough for the two batches that the sampler asks for at least."""
    return rows.select(range(min(len(rows), 2 * args.train_batch_size * args.world_size)))


def told(seconds: dict[str, float], recipe: StudentRecipe | None = None) -> str:
    """The estimate in words; beyond a day also what to change.

    Args:
        seconds: of each stage.
        recipe: a student's, for advice. Default: a teacher alone, none.
    """
    total = sum(seconds.values())
    parts = ", ".join(f"{stage} {in_words(s)}" for stage, s in seconds.items() if s > 0.02 * total)
    text = f"This will take about {in_words(total)} on this machine ({parts})."
    if total < DAY or recipe is None:
        return text
    advice = "--num_train_epochs, a smaller --preset or a lower --image_size shorten it"
    if recipe.training.device.type != "cpu":
        return f"{text} {advice}, and so do several GPUs (accelerate launch)."
    return (
        f"{text} There is no GPU here: `deit-lt finetune imagefolder_cpu --dataset {recipe.data.dataset}` trains a "
        f"small student and teacher in minutes to hours; {advice}."
    )


def _seconds_per_image(trainer: Trainer, images, loss: Callable[[dict], torch.Tensor]) -> tuple[float, float]:
    """Of loading and augmenting in one process, and of forward, backward and optimiser."""
    args = trainer.args
    trainer.compiles = False  # which takes longer than these few steps
    trainer.model.to(args.device)  # which Trainer leaves to its evaluation in some settings
    optimizer = trainer.create_optimizer()
    keys = [ImageKey(row, 0, row) for row in range(min(args.train_batch_size, len(images)))]

    def one_step(batch: dict) -> float:
        start = time.perf_counter()
        with trainer.accelerator.autocast():
            value = loss(batch)
        value.float().backward()
        optimizer.step()
        optimizer.zero_grad()
        next(trainer.model.parameters()).flatten()[0].item()  # wait for the device
        return time.perf_counter() - start

    try:
        few = keys[:FEW]
        (batch,) = DataLoader(images, len(few), sampler=few, collate_fn=collate)
        one_step(batch)  # the first one of a size takes longer
        step = one_step(batch) / len(few)
        if step * len(keys) * (TIMED_STEPS + 1) > PATIENCE and args.device.type == "cpu":
            return _loading(images, few), step  # on a GPU a whole batch has to show that it fits
        loading, (batch,) = _loading(images, keys), DataLoader(images, len(keys), sampler=keys, collate_fn=collate)
        one_step(batch)
        return loading, sum(one_step(batch) for _ in range(TIMED_STEPS)) / TIMED_STEPS / len(keys)
    finally:
        forget_precision()


def _too_large(args: RunArguments) -> str:
    return (
        f"a batch of {args.train_batch_size} images does not fit into the memory of the device; lower "
        "per_device_train_batch_size and raise gradient_accumulation_steps by as much"
    )


def _loading(images, keys: list) -> float:
    start = time.perf_counter()
    for _ in DataLoader(images, len(keys), sampler=keys, collate_fn=collate):
        pass
    return (time.perf_counter() - start) / len(keys)


def _of_training(args: RunArguments, images: int, loading: float, step: float) -> float:
    """Seconds of all epochs, shared by the ranks."""
    drawn = len(TrainingSampler.for_run(args, images)) * args.num_train_epochs
    return drawn * _together(args, loading, step) / args.world_size


def _together(args: RunArguments, loading: float, step: float) -> float:
    """Seconds of an image where workers load while the network computes, or one does both."""
    workers = args.dataloader_num_workers
    return max(loading / workers, step) if workers else loading + step
