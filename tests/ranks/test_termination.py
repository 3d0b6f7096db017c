"""SIGTERM to one of two ranks: both save one checkpoint and stop, and the run goes on from it."""

import os
import signal
import subprocess
import time

import pytest
from helpers import history, image_tree, write_recipe
from ranks.launching import FREE_PORT, environment, launch, launch_words
from safetensors.torch import load_file

from trainer.recipe_files import shipped_recipes
from trainer.resuming import last_complete_checkpoint

DDP = ["--config_file", shipped_recipes("accelerate")["cpu"]]
RUN = ["-m", "trainer.commands", "finetune", "recipe.yaml"]
# 26 images in batches of 14: two steps an epoch. No checkpoint is due before the signal.
SETTINGS = {"teacher": "none", "num_train_epochs": 100, "drw_start_epoch": 50, "logging_steps": 1, "save_steps": 150}


def ranks_of(launcher):
    """The processes that a launcher started."""
    told = subprocess.run(["pgrep", "-P", str(launcher.pid)], capture_output=True, text=True, check=True)
    return [int(line) for line in told.stdout.split()]


@pytest.mark.slow
def test_a_signal_to_one_rank_stops_both_and_the_run_goes_on(tmp_path):
    write_recipe(tmp_path, dataset=str(image_tree(tmp_path / "images")), **SETTINGS)
    assert launch(*DDP, *RUN, "--output_dir=alone", cwd=tmp_path).returncode == 0
    words, log = launch_words(FREE_PORT, *DDP, *RUN, "--output_dir=out"), tmp_path / "log"
    with log.open("w") as out, subprocess.Popen(words, env=environment(), cwd=tmp_path, stderr=out) as launcher:
        deadline, file = time.monotonic() + 200, tmp_path / "out" / "history.jsonl"
        while not (file.is_file() and file.stat().st_size > 3000) and time.monotonic() < deadline:
            time.sleep(0.05)
        ranks = ranks_of(launcher)
        assert len(ranks) == 2
        os.kill(ranks[1], signal.SIGTERM)
        launcher.wait(timeout=100)
    told = log.read_text()
    assert told.count("terminated; go on with the same command and --resume_from_checkpoint=true") == 1, told
    checkpoint = last_complete_checkpoint(tmp_path / "out")
    step = int(checkpoint.rsplit("-", 1)[1])
    assert 0 < step < 150
    assert history(tmp_path / "out")[-1]["step"] == step
    done = launch(*DDP, *RUN, "--output_dir=out", "--resume_from_checkpoint=true", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    ours, theirs = (load_file(tmp_path / run / "model.safetensors") for run in ("out", "alone"))
    assert all((ours[name] == theirs[name]).all() for name in theirs)
    rows = [[row for row in history(tmp_path / run) if "loss" in row] for run in ("out", "alone")]
    assert [row["loss"] for row in rows[0]] == pytest.approx([row["loss"] for row in rows[1]], rel=1e-5)
