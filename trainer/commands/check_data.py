"""Look at a data set before anything is trained: its figures, its files, its images.

Prints images, classes, imbalance and groups; compares ImageNet-LT, iNaturalist-2018 and Places-LT to what was
published. Ends with "ok", or with a line for each thing that is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from datasets import disable_progress_bars

from trainer.arguments import DataArguments
from trainer.commands.parser import CommandParser
from trainer.data import check_dataset
from trainer.errors import DataError
from trainer.parsing import make, take
from trainer.run.data import load_data
from trainer.run.data_check import figures, problems_of
from trainer.run.recipes import data_settings
from trainer.settings import check_ranges, setting

WORDS = {
    "NAME": "stem of a recipe, a student's or a teacher's, or a YAML file; its settings of the data count",
    "ROOT": "the data set, in place of the recipe's `dataset`",
}


@dataclass
class CheckArguments:
    """How much is looked at."""

    _argument_group_name = "Check"

    decode: str = setting("sample", "Images to decode.", choices=["all", "sample", "none"])
    sample: int = setting(1000, "Images of a sample, of all splits together.")
    sample_seed: int = setting(0, "Seed of the sample.")
    report_folder: str = setting(".", "Folder for the lists of missing files and of images that cannot be decoded.")

    def __post_init__(self):
        check_ranges(self, {"sample": "[1, inf)", "sample_seed": "[0, inf)"})
        if not Path(self.report_folder).is_dir():
            raise ValueError(f"report_folder: there is no folder {self.report_folder}")


def main(words: list[str]) -> None:
    """Load, print the figures, look at files and images, list what is wrong."""
    name, root, given = CommandParser("check-data", __doc__, CheckArguments, DataArguments, words=WORDS).parse(words)
    flags = make(CheckArguments, take(given, CheckArguments))
    settings = data_settings(name, {**given, "dataset": root})
    disable_progress_bars()
    try:
        splits = load_data(settings)
        check_dataset(splits, decode_images=False)
        print(figures(splits, settings))
    except ValueError as error:  # a setting that these data cannot have, such as the boundaries of other data
        raise DataError(str(error)) from error
    facts, problems = problems_of(
        splits, settings, flags.decode, flags.sample, flags.sample_seed, Path(flags.report_folder)
    )
    print("\n".join([*facts, *(f"problem: {problem}" for problem in problems)]))
    if problems:
        raise DataError(f"{root}: {len(problems)} problem{'s' if len(problems) > 1 else ''}, listed above")
    print("ok")
