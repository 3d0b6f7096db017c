"""What the commands share: data from settings, output folders, devices in words."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from pathlib import Path

import torch
from accelerate import PartialState
from datasets import DatasetDict, disable_progress_bars

from trainer.arguments import DataArguments, RunArguments
from trainer.checkpoints import last_complete_checkpoint
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
            decode = data.check_images and args.should_save
            check_dataset(splits, decode, num_workers=max(1, args.dataloader_num_workers))
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
    """Refuse a folder with something in it unless the run resumes.

    Returns:
        The checkpoint to resume from, or None for a run that starts: also for one that was cut off before its first
        checkpoint and resumes.
    """
    folder, asked = Path(args.output_dir), (args.resume_from_checkpoint or "false").lower()
    checkpoint = None
    if asked == "true":
        if not folder.is_dir():
            raise CheckpointError(f"there is no run in {folder} to resume; leave --resume_from_checkpoint out")
        if (folder / "metrics.json").is_file():
            raise RunError(f"the run in {folder} is complete; name another --output_dir for a new one")
        checkpoint = last_complete_checkpoint(folder)
    elif asked != "false":
        checkpoint = args.resume_from_checkpoint
        if not Path(checkpoint, "trainer_state.json").is_file():
            raise CheckpointError(f"{checkpoint} is not a complete checkpoint: it has no trainer_state.json")
    ours = asked == "true" or (checkpoint is not None and Path(checkpoint).resolve().parent == folder.resolve())
    if not ours and folder.is_dir() and any(folder.iterdir()):
        raise RunError(
            f"output folder {folder} is not empty; go on with --resume_from_checkpoint true, or name another "
            "--output_dir"
        )
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
