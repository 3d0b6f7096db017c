"""A run that is taken up again, and folders that are not its own."""

import json
import shutil
from pathlib import Path

import pytest
from helpers import write_recipe

from trainer.commands import finetune
from trainer.errors import CheckpointError, RunError


def test_a_folder_with_something_in_it_is_refused(finished, refused, monkeypatch):
    monkeypatch.chdir(finished[0])
    code, told = refused("finetune", "recipe.yaml", "--output_dir", "out")
    assert code == 1
    assert told.strip().splitlines()[-1].startswith("error: output folder out is not empty")
    assert "--resume" not in told  # it is complete


def test_a_finished_run_resumes_to_the_same_figures(finished, monkeypatch, capsys):
    """The last checkpoint of the run, taken up again, gives the same report."""
    monkeypatch.chdir(finished[0])
    shutil.copytree("out", "resumed")
    words = ["recipe.yaml", "--output_dir=resumed", "--alpha=0.25", "--resume_from_checkpoint=true"]
    with pytest.raises(RunError, match="the run in resumed is complete"):
        finetune.main(words)
    Path("resumed/metrics.json").unlink()
    Path("resumed/checkpoint-12/trainer_state.json").unlink()  # killed while it was saved
    finetune.main(words)
    assert json.loads(Path("resumed/metrics.json").read_text())["resumed_from_step"] == 11
    printed = finished[1].stdout, capsys.readouterr().out
    first, second = (text.split("expert ")[1].split("The model is")[0] for text in printed)
    assert first == second


def test_a_run_whose_first_checkpoint_rotates_away_ends_with_its_report(finished, monkeypatch):
    """Of the checkpoint that it was resumed from nothing is left at the end."""
    monkeypatch.chdir(finished[0])
    shutil.copytree("out/checkpoint-11", "rotated/checkpoint-11")
    shutil.copy("out/settings.json", "rotated")
    flags = ["--alpha=0.25", "--save_total_limit=1", "--resume_from_checkpoint=true"]
    finetune.main(["recipe.yaml", "--output_dir=rotated", *flags])
    assert [path.name for path in Path("rotated").glob("checkpoint-*")] == ["checkpoint-12"]
    metrics, whole = (json.loads(Path(run, "metrics.json").read_text()) for run in ("rotated", "out"))
    assert metrics["resumed_from_step"] == 11
    assert metrics["last"] == whole["last"]


def test_resuming_from_nothing_says_so(tmp_path):
    recipe = write_recipe(tmp_path)
    with pytest.raises(CheckpointError, match=r"there is no run in .*new to resume"):
        finetune.main([str(recipe), f"--output_dir={tmp_path / 'new'}", "--resume_from_checkpoint=true"])
    with pytest.raises(CheckpointError, match=r"has no trainer_state\.json"):
        finetune.main([str(recipe), f"--output_dir={tmp_path / 'new'}", f"--resume_from_checkpoint={tmp_path}"])
