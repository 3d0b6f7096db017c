"""What the commands share: data from settings, output folders, devices in words."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from pathlib import Path

import torch
from accelerate import PartialState
from datasets import DatasetDict, disable_progress_bars
from transformers.trainer_utils import get_last_checkpoint

from trainer.arguments import DataArguments, RunArguments
from trainer.data import check_dataset, class_counts, load_long_tailed, stratified_split
from trainer.errors import CheckpointError, DataError, RunError
from trainer.evaluation import head_mid_tail


def load_splits(data: DataArguments, args: RunArguments, validation: bool = False) -> DatasetDict:
    """Load, cut and check the data; rank 0 goes first, so that caches are written once.

    Args:
        data: which images.
        args: of the run, for its ranks.
        validation: hold `data.validation_fraction` of the training images out as the split `validation`.

    Returns:
        `train`, `test` and perhaps `validation`, with the columns `image` and `label`.
    """
    disable_progress_bars()
    try:
        with args.main_process_first(desc="loading the data"):
            splits = _read_splits(data)
            check_dataset(splits, decode_images=data.check_images and args.should_save)
            if validation:
                train, held_out = stratified_split(splits["train"], data.validation_fraction, seed=data.split_seed)
                splits = DatasetDict(train=train, validation=held_out, test=splits["test"])
            head_mid_tail(class_counts(splits["train"]), data.boundaries)  # refuse boundaries that do not fit now
    except ValueError as error:  # a setting that these data cannot have, such as a rho below 1
        raise DataError(str(error)) from error
    return splits


def _read_splits(data: DataArguments) -> DatasetDict:
    return load_long_tailed(
        data.dataset,
        rho=data.rho,
        profile=data.profile,
        seed=data.split_seed,
        max_per_class=data.max_per_class,
        image_column=data.image_column,
        label_column=data.label_column,
        config_name=data.config_name,
        test_fraction=data.test_fraction,
    )


def prepare_output_folder(args: RunArguments) -> str | None:
    """Refuse a folder with something in it unless the run resumes; return the checkpoint to resume from, or None."""
    folder = Path(args.output_dir)
    checkpoint = args.resume_from_checkpoint
    if checkpoint is None or checkpoint.lower() == "false":
        if folder.is_dir() and any(folder.iterdir()):
            raise RunError(
                f"output folder {folder} is not empty; go on with --resume_from_checkpoint true, or name another "
                "--output_dir"
            )
        checkpoint = None
    elif checkpoint.lower() == "true":
        checkpoint = get_last_checkpoint(folder) if folder.is_dir() else None
        if checkpoint is None:
            raise CheckpointError(f"there is no checkpoint in {folder}; remove the folder and start the run anew")
    elif not Path(checkpoint, "trainer_state.json").is_file():
        raise CheckpointError(f"{checkpoint} is not a checkpoint: it has no trainer_state.json")
    PartialState().wait_for_everyone()  # no rank may write before every rank has looked
    folder.mkdir(parents=True, exist_ok=True)
    return checkpoint


def data_facts(data: DataArguments) -> dict:
    """The settings that decide which images a model has seen."""
    facts = asdict(data)
    for key in ("group_boundaries", "check_images"):
        del facts[key]
    return facts


def write_json(path: Path, content: dict) -> None:
    """Write a JSON file that people read too."""
    path.write_text(json.dumps(content, indent=2) + "\n")


def device_in_words(device: torch.device) -> str:
    """The hardware a figure was measured on."""
    if device.type == "cuda":
        return f"{PartialState().num_processes} x {torch.cuda.get_device_name(device)}"
    return f"{device.type}, {platform.machine()}, {torch.get_num_threads()} threads"
