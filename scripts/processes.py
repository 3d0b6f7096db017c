"""Runs of other commands as processes of their own, for comparisons; a run that is complete is only read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parent
RESULTS = SCRIPTS / "results"


def run_once(script: str, recipe: Path, folder: Path, flags: list[str]) -> dict:
    """The metrics of one run of a script; ends the program if the run fails, or was made with other flags.

    Args:
        script: its file name in scripts/.
        recipe: its recipe.
        folder: of the run; its output goes to the file of the same name ending in .log.
        flags: further flags.
    """
    metrics, asked = folder / "metrics.json", Path(f"{folder}.flags")
    words = " ".join([script, str(recipe), *flags])
    if asked.is_file() and asked.read_text() != words:
        sys.exit(f"error: {folder} is a run with other flags; name another --runs, or remove it")
    if not metrics.is_file():
        command = [sys.executable, str(SCRIPTS / script), str(recipe), f"--output_dir={folder}", "--disable_tqdm=true"]
        folder.parent.mkdir(parents=True, exist_ok=True)
        asked.write_text(words)
        if folder.is_dir():
            command.append("--resume_from_checkpoint=true")  # it was cut off
        with Path(f"{folder}.log").open("w") as log:
            code = subprocess.run([*command, *flags], stdout=log, stderr=subprocess.STDOUT, check=False).returncode
        if code:
            sys.exit(f"error: {script} {recipe} failed; see {log.name}")
    return json.loads(metrics.read_text())


def without_places(flags: list[str]) -> list[str]:
    """Flags that are settings; where the data lie is none."""
    return [flag for flag in flags if not flag.startswith("--dataset=")]


def write_results(path: Path, content: dict) -> None:
    """Write a result file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")
