"""`auto_find_batch_size`: a batch that fits into the memory, with as many images of an optimiser step as asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from accelerate.utils import gather_object

from trainer.augmentation import TrainingSampler
from trainer.errors import CheckpointError, RunError
from trainer.machine import free_memory
from trainer.ranks import from_first_rank
from trainer.run.estimate import BatchTooLarge, is_sharded
from trainer.run.folder import settings_of
from trainer.run.recipes import StudentRecipe
from trainer.settings import GLOBAL_BATCH, over_all_ranks

ACCUMULATION = "gradient_accumulation_steps"
SMALLEST = 2  # mixing needs a pair


def batch_to_begin_with(recipe: StudentRecipe, checkpoint: str | None) -> tuple[StudentRecipe, bool]:
    """The recipe with the batch of the start that a run goes on from, where that was found; and whether to search.

    What is learned depends on the batch, so a resumed run keeps it, on whatever device it goes on.

    Args:
        recipe: as it was asked for.
        checkpoint: to resume from, or None.

    Returns:
        The recipe itself where nothing is to be found and nothing was; else one without `auto_find_batch_size`.

    Raises:
        RunError: FSDP or DeepSpeed divides the network, or the ranks cannot share the batch that was found.
        CheckpointError: the run was begun without a search.
    """
    args = recipe.training
    if args.auto_find_batch_size and is_sharded(args):
        raise RunError(
            "auto_find_batch_size tries the whole network on one device; with FSDP or DeepSpeed set "
            "per_device_train_batch_size and gradient_accumulation_steps"
        )
    begun = from_first_rank(lambda: settings_of(Path(checkpoint).parent)) if checkpoint else {}
    if "found" not in begun:
        if not args.auto_find_batch_size:
            return recipe, False
        if begun:
            raise CheckpointError(f"the run of {checkpoint} was begun without auto_find_batch_size; leave it out")
        return with_batch(recipe, args.train_batch_size, args.gradient_accumulation_steps), True
    found = begun["found"]
    images, left = divmod(found[GLOBAL_BATCH], args.world_size)
    if left:
        raise RunError(
            f"the run was begun with {found[GLOBAL_BATCH]} images at a time, which {args.world_size} processes cannot "
            "share; go on with as many as it was begun with"
        )
    return with_batch(recipe, images, found[ACCUMULATION]), False


def batch_that_fits(
    recipe: StudentRecipe, images: int, try_steps: Callable[[StudentRecipe], dict]
) -> tuple[StudentRecipe, dict]:
    """Halve the images of a device, and accumulate twice as many batches, until steps can be taken on all devices.

    Args:
        recipe: with the largest batch.
        images: of an epoch's data.
        try_steps: takes a few steps of a recipe. It is called by all ranks, each for itself.

    Returns:
        The recipe with the batch that fits, and what its `try_steps` gave.

    Raises:
        RunError: a batch cannot be halved.
    """
    while True:
        try:
            result = try_steps(recipe)
        except BatchTooLarge:
            result = None
        free_memory()
        if None not in gather_object([result]):
            return recipe, result
        recipe = halved(recipe, images)


def halved(recipe: StudentRecipe, images: int) -> StudentRecipe:
    """A recipe with half the images at a time and as many of an optimiser step, so with the same rate and steps.

    Raises:
        RunError: there is no such recipe; one line on what to set.
    """
    args = recipe.training
    batch = args.train_batch_size
    too_large = f"student: batches of {batch} images do not fit into the memory of the device and cannot be halved"
    if batch <= SMALLEST:
        raise RunError(f"{too_large}; set gradient_checkpointing, a smaller preset or a lower image_size")
    if batch % 2:
        raise RunError(f"{too_large}; set per_device_train_batch_size to a power of 2")
    half = with_batch(recipe, batch // 2, 2 * args.gradient_accumulation_steps)
    if steps_of_epoch(half, images) != steps_of_epoch(recipe, images):
        raise RunError(
            f"{too_large}: drop_partial_batches would leave out fewer images, and an epoch have "
            f"{steps_of_epoch(half, images)} steps in place of {steps_of_epoch(recipe, images)}; set it to false, or "
            f"per_device_train_batch_size to {batch // 2}"
        )
    return half


def with_batch(recipe: StudentRecipe, images: int, accumulation: int) -> StudentRecipe:
    """A recipe with this batch on each device, which is not searched for any more."""
    batch = {"per_device_train_batch_size": images, "gradient_accumulation_steps": accumulation}
    return replace(recipe, training=replace(recipe.training, **batch, auto_find_batch_size=False))


def steps_of_epoch(recipe: StudentRecipe, images: int) -> int:
    """Optimiser steps that an epoch takes."""
    return -(-len(TrainingSampler.for_run(recipe.training, images)) // recipe.training.global_batch_size)


def found_batch(recipe: StudentRecipe) -> dict:
    """What the folder of a run keeps of the batch that was found, for the run to go on with."""
    settings = over_all_ranks(recipe.training)
    return {"found": {name: settings[name] for name in (GLOBAL_BATCH, ACCUMULATION)}}


def told_batch(recipe: StudentRecipe) -> str:
    """The batch in a line."""
    args = recipe.training
    return (
        f"The memory of the device holds {args.train_batch_size} images at a time; with gradient_accumulation_steps "
        f"{args.gradient_accumulation_steps} an optimiser step keeps its {args.global_batch_size}"
    )
