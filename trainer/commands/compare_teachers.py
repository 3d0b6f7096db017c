"""Train several teachers and compare them, over seeds or the values of a setting.

Each run is one `deit-lt train-teacher` process, to which all other flags go. All figures are those of the last epoch
on the test split; where a recipe has `eval_strategy`, those of the best epoch on the test split, as published figures
are, stand in a column of their own. The table is printed, everything is written to results.json beside the runs.
"""

from __future__ import annotations

import itertools
import statistics
from dataclasses import dataclass
from pathlib import Path

from trainer.arguments import DataArguments
from trainer.commands.parser import CommandParser
from trainer.commands.processes import plan_run, run_all, without_places, write_comparison
from trainer.errors import SettingError
from trainer.parsing import make, take
from trainer.recipe_files import find_recipe
from trainer.settings import check_ranges, setting
from trainer.teachers.arguments import TeacherArguments

WORDS = {"NAME": "of the comparison", "RECIPE...": "stems of teachers' recipes that `deit-lt recipes` lists, or files"}
COLUMNS = ("accuracy", "balanced_accuracy", "head", "mid", "tail")


@dataclass
class ComparisonArguments:
    """What is compared, and where it goes."""

    _argument_group_name = "Comparison"

    seeds: list[int] = setting([0], "Seeds of the runs.")
    vary: list[str] = setting([], "A setting and its values: each recipe is trained with each of them.")
    runs: str | None = setting(None, "Folder of the runs; runs/NAME if not given.")
    results: str | None = setting(None, "Result file; results.json beside the runs if not given.")

    jobs: int = setting(
        1,
        "Runs at the same time on one device, each with its share of the cores; a GPU holds 4 to 8 small networks.",
    )

    def __post_init__(self):
        check_ranges(self, {"jobs": "[1, 1000]"})
        if len(self.vary) == 1:
            raise ValueError("vary takes a setting and its values")
        if self.vary[:1] == ["seed"]:
            raise ValueError("vary is for other settings; give the seeds with --seeds")


def main(words: list[str]) -> None:
    """Run what is missing, then write and print the table."""
    kinds = (DataArguments, TeacherArguments, ComparisonArguments)
    name, recipes, given = CommandParser("compare-teachers", __doc__, *kinds, words=WORDS).parse(words)
    if name.endswith((".yaml", ".yml")):
        raise SettingError(f"the first word is the comparison's name, got the recipe {name}")
    asked = make(ComparisonArguments, take(given, ComparisonArguments))
    key, *values = asked.vary or [None, None]
    runs = Path(asked.runs or Path("runs", name))
    results = Path(asked.results or runs / "results.json")
    names, planned = [], []
    paths = [find_recipe(recipe, "teachers") for recipe in recipes]
    for recipe, value, seed in itertools.product(paths, values, asked.seeds):
        varied = {} if key is None else {key: value}
        names.append(recipe.stem if key is None else f"{recipe.stem} {key} {value}")
        folder = runs / f"{names[-1]}_seed{seed}".replace(" ", "_")
        planned.append(plan_run("train-teacher", recipe, folder, {**given, **varied, "seed": seed}))
    teachers = {name: [] for name in names}
    for teacher, figures in zip(names, run_all(planned, results, figures_of, asked.jobs, name=name), strict=True):
        teachers[teacher].append(figures)
    selection = "weights of the last epoch"
    content = {"name": name, "settings": without_places(given), "selection": selection, "teachers": teachers}
    write_comparison(results, content)
    print(table(teachers))


def figures_of(metrics: dict) -> dict:
    """What the comparison keeps of a run: its metrics, without where the data lie.

    Raises:
        KeyError, TypeError: a figure of the table is missing, or is no number.
    """
    table({"": [metrics]})
    return {**metrics, "data": {name: value for name, value in metrics["data"].items() if name != "dataset"}}


def table(teachers: dict[str, list[dict]]) -> str:
    """The comparison as Markdown, means over the seeds."""
    headings = ["teacher", *COLUMNS, "best epoch on test", "seconds", "images per second"]
    lines = ["| " + " | ".join(headings) + " |", "|---" * len(headings) + "|"]
    for name, runs in teachers.items():
        figures = [[run["teacher"][column] for run in runs] for column in COLUMNS]
        figures.append([run["best_epoch_on_test"] and run["best_epoch_on_test"]["accuracy"] for run in runs])
        cells = ["-" if None in values else f"{statistics.fmean(values):.1f}" for values in figures]
        seconds = statistics.fmean(run["wall_seconds"] for run in runs)
        speed = statistics.fmean(run["images_per_second"] for run in runs)
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {seconds:.0f} | {speed:.0f} |")
    return "\n".join(lines)
