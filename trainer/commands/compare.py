"""Train a recipe's student with and without its parts, over seeds.

Each run is one `deit-lt finetune` process, to which all other flags go. All figures are those of the last epoch on
the test split.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path

from trainer.arguments import DataArguments, DistillationArguments, ModelArguments
from trainer.commands.parser import CommandParser
from trainer.commands.processes import PlannedRun, plan_run, run_all, without_places, write_comparison
from trainer.parsing import make, take
from trainer.recipe_files import find_recipe
from trainer.settings import check_ranges, setting

WORDS = {"RECIPE": "stem of a student's recipe that `deit-lt recipes` lists, or a YAML file"}
VARIANTS = {
    "no_teacher": "without a teacher: both experts learn the ground truth, no DRW",
    "no_teacher_drw": "without a teacher, DRW on the ground truth of the DIST expert",
    "no_drw": "DeiT-LT without DRW",
    "full": "DeiT-LT",
}
CHANGES = {
    "no_teacher": {"teacher": "none", "drw_start_epoch": "none"},
    "no_teacher_drw": {"teacher": "none"},
    "no_drw": {"drw_start_epoch": "none"},
    "full": {},
}


@dataclass
class ComparisonArguments:
    """What is compared, and where it goes."""

    _argument_group_name = "Comparison"

    variants: list[str] = setting(["no_teacher", "no_drw", "full"], f"Of {', '.join(VARIANTS)}.")
    seeds: list[int] = setting([0], "Seeds of the runs.")
    runs: str | None = setting(None, "Folder of the runs; runs/compare_<recipe> if not given.")
    results: str | None = setting(None, "Result file; results.json beside the runs if not given.")

    jobs: int = setting(
        1,
        "Runs at the same time on one device, each with its share of the cores; a GPU holds 4 to 8 small networks.",
    )

    def __post_init__(self):
        check_ranges(self, {"jobs": "[1, 1000]"})
        unknown = [name for name in self.variants if name not in VARIANTS]
        if unknown:
            raise ValueError(f"variants must be of {', '.join(VARIANTS)}, got {unknown[0]}")


def main(words: list[str]) -> None:
    """Run what is missing, then write and print the table."""
    kinds = (ModelArguments, DataArguments, DistillationArguments, ComparisonArguments)
    name, given = CommandParser("compare", __doc__, *kinds, words=WORDS).parse(words)
    recipe, asked = find_recipe(name), make(ComparisonArguments, take(given, ComparisonArguments))
    runs = Path(asked.runs or Path("runs", f"compare_{recipe.stem}"))
    results = Path(asked.results or runs / "results.json")
    places = [(variant, seed) for variant in asked.variants for seed in asked.seeds]
    planned = [plan(recipe, runs, variant, seed, given) for variant, seed in places]
    found = {variant: [] for variant in asked.variants}
    figures = run_all(planned, results, figures_of, asked.jobs, recipe=recipe.stem)
    for (variant, _), run in zip(places, figures, strict=True):
        found[variant].append(run)
    content = {
        "recipe": recipe.stem,
        "settings": without_places(given),
        "selection": "weights of the last epoch, test split",
        "variants": {v: {"what": VARIANTS[v], "runs": r, "mean": average(r)} for v, r in found.items()},
    }
    write_comparison(results, content)
    print(table(content))


def plan(recipe: Path, runs: Path, variant: str, seed: int, given: dict) -> PlannedRun:
    """One run of the comparison."""
    return plan_run("finetune", recipe, runs / f"{variant}_seed{seed}", {**given, "seed": seed, **CHANGES[variant]})


def figures_of(metrics: dict) -> dict:
    """What the comparison keeps of a run.

    Raises:
        KeyError, TypeError: a figure of the table is missing, or is no number.
    """
    average([metrics["last"]])
    statistics.fmean([metrics["wall_seconds"]])
    kept = ("seed", "epochs", "wall_seconds", "images_per_second", "device", "teacher_accuracy_on_training_images")
    return {
        **{key: metrics[key] for key in kept if key in metrics},
        "teacher": metrics["teacher"],
        **{expert: metrics["last"][expert] for expert in ("mean", "cls", "dist")},
        "mean_of_ema": metrics["ema"] and metrics["ema"]["mean"],
    }


def average(runs: list[dict]) -> dict:
    """Mean and, from two runs on, standard deviation over the runs of the figures of each expert."""
    result = {}
    for expert in ("mean", "cls", "dist"):
        for key in ("accuracy", "balanced_accuracy", "head", "mid", "tail"):
            values = [run[expert][key] for run in runs if run[expert][key] is not None]  # None: no class in the group
            spread = statistics.stdev(values) if len(values) > 1 else None
            result[f"{expert}_{key}"] = {
                "mean": round(statistics.fmean(values), 2) if values else None,
                "std": spread and round(spread, 2),
            }
    return result


def table(content: dict) -> str:
    """The comparison as Markdown."""
    keys = ("mean_accuracy", "mean_balanced_accuracy", "mean_head", "mean_mid", "mean_tail", "cls_tail", "dist_tail")
    lines = ["| variant | " + " | ".join(keys) + " | seconds |", "|---" * (len(keys) + 2) + "|"]
    for name, variant in content["variants"].items():
        cells = []
        for key in keys:
            figure = variant["mean"][key]
            if figure["mean"] is None:
                cells.append("-")
                continue
            cells.append(f"{figure['mean']:.1f}" + (f" ± {figure['std']:.1f}" if figure["std"] is not None else ""))
        seconds = statistics.fmean(run["wall_seconds"] for run in variant["runs"])
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {seconds:.0f} |")
    return "\n".join(lines)
