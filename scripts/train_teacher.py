"""Train a CNN teacher on long-tailed images: `scripts/train_teacher.py RECIPE.yaml [--flag value ...]`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from building import data_facts, device_in_words, load_splits, prepare_output_folder
from command_line import RecipeParser, run
from datasets import DatasetDict

from trainer.arguments import DataArguments, DistillationArguments, TeacherArguments
from trainer.checkpoints import last_complete_checkpoint
from trainer.data import class_counts
from trainer.errors import RunError
from trainer.evaluation import format_report, group_rule
from trainer.teachers import is_complete, train_teacher
from trainer.teachers.training import TRAINING_VERSION


def main(arguments: list[str]) -> None:
    """Train one teacher and print its report."""
    _, data, args = RecipeParser((DataArguments, TeacherArguments), __doc__, runs="runs/teachers").parse(arguments)
    checkpoint = prepare_output_folder(args)
    splits = load_splits(data, args)
    facts = {"data": data_facts(data), "device": device_in_words(args.device)}
    metrics = train_teacher(args, splits, data.boundaries, facts, checkpoint)
    if args.should_log:
        print(format_report(rows(metrics), group_rule(metrics["class_counts"], data.boundaries)))
        print(f"The teacher is in {args.output_dir}. A student takes it with --teacher {args.output_dir}")


def rows(metrics: dict) -> dict[str, dict]:
    """The report of the last epoch, whose weights are kept, above that of the best one if it was looked for."""
    best = metrics["best_epoch_on_test"]
    if best is None:
        return {"last epoch": metrics["teacher"]}
    figures = {key: value for key, value in best.items() if key != "epoch"}
    return {f"best epoch on test ({best['epoch']:g})": figures, "last epoch": metrics["teacher"]}


def is_recipe(teacher: str | None) -> bool:
    """Whether a student names its teacher by a recipe."""
    return teacher is not None and teacher.endswith((".yaml", ".yml"))


def teacher_from_recipe(
    teacher: Path, student_recipe: Path, data: DataArguments, args: DistillationArguments, splits: DatasetDict
) -> tuple[str, dict]:
    """Train the teacher that a student's recipe names, on the student's training images, or reuse it.

    Args:
        teacher: the teacher's recipe, relative to the student's recipe or to the working folder.
        student_recipe: the student's.
        data: the student's data settings; those in the teacher's recipe do not count here.
        args: the student's training settings; seed and device are taken over, and the recipe's batch is divided among
            the student's ranks, since its learning rate belongs to the whole. Precision is the teacher's own: a small
            CNN gains no speed from bf16 and loses accuracy of its steps.
        splits: the student's data.

    Returns:
        The teacher's folder, by default `teachers/<recipe>-<hash of all that it depends on>` beside the student's, and
        its test figures.
    """
    path = student_recipe.parent / teacher if (student_recipe.parent / teacher).is_file() else teacher
    taken_over = ("seed", "use_cpu", "disable_tqdm", "dataloader_num_workers")
    flags = [f"--{key}={getattr(args, key)}" for key in taken_over]
    _, _, own = RecipeParser((DataArguments, TeacherArguments), __doc__).parse([str(path), *flags])
    own.per_device_train_batch_size = -(-own.per_device_train_batch_size // own.world_size)
    facts = {"data": data_facts(data), "seed": own.seed, "class_counts": class_counts(splits["train"]).tolist()}
    facts["training_version"] = TRAINING_VERSION
    everything = json.dumps({**facts, "recipe": path.read_text()}, sort_keys=True)
    digest = hashlib.sha256(everything.encode()).hexdigest()[:8]
    folder = args.teacher_output_dir or str(Path(args.output_dir).parent / "teachers" / f"{path.stem}-{digest}")
    if is_complete(Path(folder)):
        metrics = json.loads(Path(folder, "metrics.json").read_text())
        if metrics.get("digest") != digest:
            raise RunError(
                f"the teacher in {folder} comes from other images, another recipe or another version; name another "
                f"--teacher_output_dir, or take it as it is with --teacher {folder}"
            )
        return folder, metrics["teacher"]
    if args.should_log:
        print(f"Training the teacher {path.stem} in {folder}", flush=True)
    own.output_dir = folder
    checkpoint = last_complete_checkpoint(folder)  # of a run that was cut off
    metrics = train_teacher(own, splits, data.boundaries, {**facts, "digest": digest}, checkpoint)
    return folder, metrics["teacher"]


if __name__ == "__main__":
    run(main)
