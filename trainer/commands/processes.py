"""Runs of other commands as processes of their own, for comparisons; a run that is complete is only read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from trainer.errors import RunError, SettingError
from trainer.run.files import read_json, write_json
from trainer.run.folder import METRICS, RESUME, SETTINGS


def run_once(command: str, recipe: Path, asked: dict, folder: Path, flags: list[str]) -> dict:
    """The metrics of one run; one that was cut off goes on.

    Args:
        command: "finetune" or "train_teacher".
        recipe: its recipe.
        asked: what that recipe and the flags ask for, as the folder of a run keeps it.
        folder: of the run; its output goes to the file of the same name ending in .log.
        flags: further flags.

    Raises:
        RunError: the run failed, or the folder holds one of other settings.
    """
    begun, complete = (folder / SETTINGS).is_file(), (folder / METRICS).is_file()
    if complete and not begun:
        raise RunError(f"the run in {folder} does not say what it was made from; name another --runs, or remove it")
    if begun and (differing := _differing(read_json(folder / SETTINGS), asked)):
        raise RunError(
            f"the run in {folder} has other settings ({', '.join(differing)}); name another --runs, or remove it"
        )
    if not complete:
        go_on = [RESUME] if begun else []
        words = [command, str(recipe), f"--output_dir={folder}", "--disable_tqdm=true", *flags, *go_on]
        folder.parent.mkdir(parents=True, exist_ok=True)
        with Path(f"{folder}.log").open("w") as log:
            whole = [sys.executable, "-m", "trainer.commands", *words]
            done = subprocess.run(whole, stdout=log, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            raise RunError(f"{command} {recipe} failed; see {log.name}")
    return read_json(folder / METRICS)


def _differing(found: dict, asked: dict) -> list[str]:
    """Names of settings that are not the same in both; "teacher" where its own differ."""
    names = [name for name, value in asked["settings"].items() if found.get("settings", {}).get(name) != value]
    return names + [part for part in asked if part != "settings" and found.get(part) != asked[part]]


def as_given(flags: list[str]) -> dict[str, str]:
    """Flags of the form --name=value as settings by name.

    Raises:
        SettingError: one has another form.
    """
    if any("=" not in flag for flag in flags):
        raise SettingError(f"further flags are written --flag=value, got {' '.join(flags)}")
    return dict(flag.removeprefix("--").split("=", 1) for flag in flags)


def without_places(flags: list[str]) -> list[str]:
    """Flags that are settings; where the data lie is none."""
    return [flag for flag in flags if not flag.startswith("--dataset=")]


def check_results_file(path: Path, name: str, of: str) -> None:
    """Refuse a result file that is there and is not that of the same comparison.

    Raises:
        RunError: it holds something else.
    """
    if path.is_file() and read_json(path).get(name) != of:
        raise RunError(f"{path} holds something else than this comparison; name another file with --results")


def write_results(path: Path, content: dict) -> None:
    """Write a result file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, content)
