"""Train several teachers and compare them: `python scripts/compare_teachers.py NAME RECIPE [RECIPE ...] [options]`.

Each run is one `train_teacher.py` process; further flags, written --flag=value, go to all of them. All figures are
those of the last epoch on the test split; where a recipe has `eval_strategy`, those of the best epoch on the test
split, as published figures are, stand in a column of their own. The table is printed, everything is written to
results.json in the folder of the runs.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from pathlib import Path

from trainer.commands.processes import plan_run, run_all, without_places, write_comparison

COLUMNS = ("accuracy", "balanced_accuracy", "head", "mid", "tail")


def main(words: list[str]) -> None:
    """Run what is missing, then write and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="of the comparison")
    parser.add_argument("recipes", nargs="+", type=Path)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument(
        "--vary", nargs="+", metavar=("KEY", "VALUE"), help="train each recipe with each value of a key"
    )
    parser.add_argument("--runs", type=Path, help="folder of the runs; runs/NAME if not given")
    parser.add_argument("--results", type=Path, help="result file; results.json beside the runs if not given")
    args, flags = parser.parse_known_args(words)
    key, *values = args.vary or [None, None]
    if args.vary and not values:
        parser.error("--vary takes a key and its values")
    if args.name.endswith((".yaml", ".yml")):
        parser.error(f"the first word is the comparison's name, got the recipe {args.name}")
    if key == "seed":
        parser.error("--vary is for settings; give the seeds with --seeds")
    runs = args.runs or Path("runs", args.name)
    results = args.results or runs / "results.json"
    names, planned = [], []
    for recipe, value, seed in itertools.product(args.recipes, values, args.seeds):
        varied = [] if key is None else [f"--{key}={value}"]
        names.append(recipe.stem if key is None else f"{recipe.stem} {key} {value}")
        folder = runs / f"{names[-1]}_seed{seed}".replace(" ", "_")
        planned.append(plan_run("train_teacher", recipe, folder, [*flags, *varied, f"--seed={seed}"]))
    teachers = {name: [] for name in names}
    for name, metrics in zip(names, run_all(planned, results, name=args.name), strict=True):
        metrics["data"].pop("dataset")  # where the data lie
        teachers[name].append(metrics)
    selection = "weights of the last epoch"
    content = {"name": args.name, "flags": without_places(flags), "selection": selection, "teachers": teachers}
    write_comparison(results, content)
    print(table(teachers))


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
