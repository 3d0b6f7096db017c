"""Train a DeiT-LT student, and its teacher if asked: `scripts/finetune.py RECIPE.yaml [--flag value ...]`.

Everything from a long-tailed data set to a report and a model folder that `pipeline("image-classification")` opens.
"""

from __future__ import annotations

from trainer.arguments import DataArguments, DistillationArguments, ModelArguments
from trainer.commands.parser import SettingsParser
from trainer.run import finetune, student_recipe
from trainer.run.summary import final_table


def main(words: list[str]) -> None:
    """From a recipe to a model folder."""
    parser = SettingsParser(__doc__, ModelArguments, DataArguments, DistillationArguments)
    recipe = student_recipe(*parser.parse(words))
    run = finetune(recipe)
    if recipe.training.should_log:
        print(final_table(run))
        print(f"The model is in {run.folder}; its report is {run.folder}/README.md. Classify an image with it:")
        print(f"  python scripts/classify.py {run.folder} {run.folder}/example.png")
