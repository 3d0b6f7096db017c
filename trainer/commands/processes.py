"""Runs of other commands as processes of their own, for comparisons; a run that is complete is only read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from trainer.commands.side_by_side import Job, run_side_by_side
from trainer.errors import RunError, SettingError
from trainer.parsing import in_one_line
from trainer.run import student_recipe, teacher_recipe
from trainer.run.files import read_json, write_json
from trainer.run.folder import METRICS, RESUME, SETTINGS, differences


class PlannedRun(NamedTuple):
    """One run of a comparison."""

    command: str
    recipe: Path
    folder: Path
    given: dict  # settings beside the recipe's
    asked: dict  # what recipe and settings ask for, as the folder of a run keeps it


def plan_run(command: str, recipe: Path, folder: Path, given: dict) -> PlannedRun:
    """A run that is ready to start.

    Args:
        command: "finetune" or "train-teacher".
        recipe: its recipe.
        folder: of the run; its output goes to the file of the same name ending in .log.
        given: settings that win over the recipe's, by name.

    Raises:
        SettingError: the recipe or a setting is wrong.
    """
    for name in ("output_dir", "resume_from_checkpoint"):
        if name in given:
            raise SettingError(f"a comparison chooses {name} itself; leave it out")
    read = student_recipe if command == "finetune" else teacher_recipe
    return PlannedRun(command, recipe, folder, given, read(recipe, given).asked)


def run_all(
    planned: Sequence[PlannedRun],
    results: Path,
    figures_of: Callable[[dict], dict],
    jobs: int = 1,
    **comparison: str,
) -> list[dict]:
    """The figures of runs, in their order; one that was cut off goes on. All are checked before the first one starts.

    Args:
        planned: from `plan_run`.
        results: the file that the comparison writes when they are done.
        figures_of: what the comparison takes of a run's metrics.
        jobs: runs at the same time. Default 1.
        comparison: what that file says of the comparison, by name.

    Raises:
        RunError: a run failed, a folder holds a run of other settings or damaged metrics, or `results` holds something
            else.
    """
    if results.exists() and (not results.is_file() or not comparison.items() <= read_json(results).items()):
        raise RunError(f"{results} holds something else than this comparison; name another file with --results")
    folder, times = Counter(run.folder for run in planned).most_common(1)[0]
    if times > 1:
        raise RunError(f"{times} runs would share the folder {folder}; give each recipe, value and seed once")
    for run in planned:
        _check_folder(run)
        if (run.folder / METRICS).is_file():
            _figures(run, figures_of)
    failed = run_side_by_side([_job(run) for run in planned if not (run.folder / METRICS).is_file()], jobs)
    if failed:
        logs = " and ".join(str(job.log) for job in failed)
        raise RunError(f"{len(failed)} of {len(planned)} runs failed; see {logs}")
    return [_figures(run, figures_of) for run in planned]


def write_comparison(path: Path, content: dict) -> None:
    """Write the file of a comparison."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, content)


def without_places(given: dict) -> dict:
    """Settings without the one that says where the data lie."""
    return {name: value for name, value in given.items() if name != "dataset"}


def _check_folder(run: PlannedRun) -> None:
    if not (run.folder / SETTINGS).is_file():
        if (run.folder / METRICS).is_file():
            raise RunError(f"{run.folder} does not say what it was made from; name another --runs, or remove it")
        return
    differing = differences(read_json(run.folder / SETTINGS), run.asked)
    if differing:
        raise RunError(
            f"the run in {run.folder} has other settings ({'; '.join(differing)}); name another --runs, or remove it"
        )


def _figures(run: PlannedRun, figures_of: Callable[[dict], dict]) -> dict:
    file = run.folder / METRICS
    try:
        return figures_of(read_json(file))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"{file} is damaged ({in_one_line(error)}); remove the run's folder, or restore it") from error


def _job(run: PlannedRun) -> Job:
    """Its process; two students whose teacher is trained from the same settings would wait for one of them."""
    go_on = [RESUME] if (run.folder / SETTINGS).is_file() else []
    flags = [flag for name, value in run.given.items() for flag in _flag(name, value)]
    words = [run.command, str(run.recipe), f"--output_dir={run.folder}", *flags, *go_on]
    teacher = run.asked.get("teacher")
    shares = json.dumps(teacher, sort_keys=True) if isinstance(teacher, dict) else None
    return Job(str(run.folder), words, Path(f"{run.folder}.log"), shares)


def _flag(name: str, value: str | int | list[str]) -> list[str]:
    return [f"--{name}", *value] if isinstance(value, list) else [f"--{name}={value}"]
