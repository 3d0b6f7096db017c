"""A disk that is full: one line, and nothing that was saved before is lost. A file system of two megabytes is made."""

import os
import shutil
import subprocess
import sys

import pytest
from helpers import command, image_tree, write_recipe

from trainer.resuming import check_checkpoint, last_complete_checkpoint

SMALL = 'mount -t tmpfs -o size=2m none out && ("$@"; echo $? > code; cp -r out/. kept)'


def can_mount():
    """Whether this process may make a file system of its own."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"], check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not can_mount(), reason="needs root and unshare, to make a small file system")
def test_a_real_run_on_a_full_disk(tmp_path):
    settings = {
        "teacher": "none",
        "num_train_epochs": 30,
        "drw_start_epoch": 20,
        "save_steps": 1,
        "save_total_limit": 99,
    }
    write_recipe(tmp_path, dataset=str(image_tree(tmp_path / "images")), **settings)
    for name in ("out", "kept"):
        (tmp_path / name).mkdir()
    run = [sys.executable, "-m", "trainer.commands", "finetune", "recipe.yaml", "--output_dir=out"]
    words = ["unshare", "--mount", "sh", "-c", SMALL, "sh", *run]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert (tmp_path / "code").read_text().strip() == "1"
    assert "Traceback" not in done.stderr
    line = done.stderr.splitlines()[-1]
    assert line.startswith("error: ")
    assert "No space left on device" in line or "could not be saved" in line
    assert "--resume_from_checkpoint=true" in line
    checkpoints = sorted((tmp_path / "kept").glob("checkpoint-*"), key=lambda path: int(path.name[11:]))
    assert len(checkpoints) > 1
    for checkpoint in checkpoints:
        check_checkpoint(checkpoint)
    # With room again it goes on from the last of them.
    resumed = command("finetune", "recipe.yaml", "--output_dir=kept", "--resume_from_checkpoint=true", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert last_complete_checkpoint(tmp_path / "kept").endswith("checkpoint-120")
