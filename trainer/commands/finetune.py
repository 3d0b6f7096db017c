"""Train a DeiT-LT student, and its teacher if asked.

Everything from a long-tailed data set to a report and a model folder that `pipeline("image-classification")` opens.
"""

from __future__ import annotations

from trainer.arguments import DataArguments, DistillationArguments, ModelArguments
from trainer.commands.parser import CommandParser
from trainer.run import run_student, student_recipe
from trainer.run.summary import final_report

WORDS = {"RECIPE": "stem of a recipe that `deit-lt recipes` lists, or a YAML file"}


def main(words: list[str]) -> None:
    """From a recipe to a model folder."""
    parser = CommandParser("finetune", __doc__, ModelArguments, DataArguments, DistillationArguments, words=WORDS)
    recipe = student_recipe(*parser.parse(words))
    run = run_student(recipe)
    if recipe.training.should_log:
        print(final_report(run))
