"""Train a CNN teacher on long-tailed images, without a student."""

from __future__ import annotations

from trainer.arguments import DataArguments
from trainer.commands.parser import CommandParser
from trainer.evaluation import format_report
from trainer.run import run_teacher, teacher_recipe
from trainer.teachers.arguments import TeacherArguments
from trainer.terminal import columns

WORDS = {"RECIPE": "stem of a teacher's recipe that `deit-lt recipes` lists, or a YAML file"}


def main(words: list[str]) -> None:
    """Train one teacher and print its report."""
    parser = CommandParser("train-teacher", __doc__, DataArguments, TeacherArguments, words=WORDS)
    recipe = teacher_recipe(*parser.parse(words))
    metrics = run_teacher(recipe)
    if recipe.training.should_log:
        folder = recipe.training.output_dir
        print(format_report(rows(metrics), metrics["groups"], columns()))
        print(f"The teacher is in {folder}. A student takes it with --teacher {folder}; images are classified with")
        print(f"  deit-lt classify {folder} IMAGE")


def rows(metrics: dict) -> dict[str, dict]:
    """The report of the last epoch, whose weights are kept, above that of the best one if it was looked for."""
    best = metrics["best_epoch_on_test"]
    if best is None:
        return {"last epoch": metrics["teacher"]}
    figures = {key: value for key, value in best.items() if key != "epoch"}
    return {f"best epoch on test ({best['epoch']:g})": figures, "last epoch": metrics["teacher"]}
