"""Test a model folder: `scripts/evaluate.py MODEL DATA [--flag value ...]`; DATA is a folder, a Hub id or 'digits'.

Prints the table of both experts and their mean, and writes it as JSON with --output. Head, mid and tail follow the
class counts that the model was trained on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from trainer.arguments import DataArguments, DistillationArguments
from trainer.augmentation import EvaluationImages
from trainer.checkpoints import load_student_and_processor
from trainer.data import check_images, check_labels, load_long_tailed
from trainer.errors import DataError
from trainer.evaluation import format_report, group_rule
from trainer.run.files import read_json, write_json
from trainer.run.folder import METRICS
from trainer.trainer import DeiTLTTrainer


def main(words: list[str]) -> None:
    """Load, test, print, write."""
    command = parser()
    flags = command.parse_args(words)
    if flags.batch_size < 1:
        command.error(f"--batch_size must be at least 1, got {flags.batch_size}")
    if flags.output and not flags.output.parent.is_dir():
        command.error(f"--output: there is no folder {flags.output.parent}")
    if flags.output and flags.output.is_dir():
        command.error(f"--output: {flags.output} is a folder; name a file in it")
    model, processor = load_student_and_processor(flags.model)
    counts, boundaries = model.config.class_counts, group_boundaries(flags)
    try:
        rule = group_rule(counts, boundaries)
    except ValueError as error:
        raise DataError(f"--group_boundaries: {error}") from error
    test = load_test_split(flags, model.config.id2label)
    args = DistillationArguments(
        output_dir=flags.model,
        per_device_eval_batch_size=flags.batch_size,
        use_cpu=flags.use_cpu,
        bf16=flags.bf16,
        disable_tqdm=True,
    )
    trainer = DeiTLTTrainer(model, args, boundaries=boundaries, processing_class=processor)
    report = trainer.report(trainer.predict(EvaluationImages(test, processor)))
    if not args.should_log:
        return
    print(format_report(report, rule))
    if flags.output:
        facts = {"model": flags.model, "data": flags.data, "images": len(test), "groups": rule}
        write_json(flags.output, {**report, **facts, "device": args.device_in_words})


def parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    result = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("model", help="a folder written by finetune.py")
    result.add_argument("data", help="a folder, a Hub id or 'digits'; its test split is used")
    result.add_argument("--output", type=Path, help="JSON file for the report")
    result.add_argument("--image_column", help="the only image column if not given")
    result.add_argument("--label_column", help="the only label column if not given")
    result.add_argument("--config_name", help="configuration of a Hub data set")
    result.add_argument("--test_fraction", type=float, help="as in a recipe; that of the model's run if not given")
    result.add_argument("--split_seed", type=int, help="as in a recipe; that of the model's run if not given")
    result.add_argument("--group_boundaries", nargs="+", help="as in a recipe; those of the model's run if not given")
    result.add_argument("--batch_size", type=int, default=64, help="images per rank (default: 64)")
    result.add_argument("--use_cpu", action="store_true", help="do not use an accelerator")
    result.add_argument("--bf16", action="store_true", help="bfloat16 autocast")
    return result


def settings_of_the_run(folder: str) -> dict:
    """What finetune.py wrote down of the run that made this model; nothing for a folder from elsewhere."""
    file = Path(folder, METRICS)
    return read_json(file) if file.is_file() else {}


def load_test_split(flags: argparse.Namespace, id2label: dict[int, str]):
    """The test split, checked, with the model's classes in the model's order."""
    run = settings_of_the_run(flags.model).get("data", {})
    test = load_long_tailed(
        flags.data,
        config_name=flags.config_name,
        image_column=flags.image_column,
        label_column=flags.label_column,
        test_fraction=run.get("test_fraction", 0.0) if flags.test_fraction is None else flags.test_fraction,
        seed=run.get("split_seed", 0) if flags.split_seed is None else flags.split_seed,
    )["test"]
    names, known = test.features["label"].names, [id2label[index] for index in range(len(id2label))]
    if names != known:
        differing = next((pair for pair in zip(names, known, strict=False) if pair[0] != pair[1]), None)
        detail = (
            f"{differing[0]} where the model has {differing[1]}" if differing else f"{len(names)} for {len(known)}"
        )
        raise DataError(f"{flags.data} has other classes than the model, or another order: {detail}")
    check_labels(test, split="test")
    check_images(test, split="test")
    return test


def group_boundaries(flags: argparse.Namespace):
    """The boundaries that were given, or those of the run that made the model, or None for thirds."""
    given = flags.group_boundaries
    if given is None:
        given = settings_of_the_run(flags.model).get("group_boundaries")
    try:
        return DataArguments(group_boundaries=given or []).boundaries
    except ValueError as error:
        raise DataError(str(error)) from error
