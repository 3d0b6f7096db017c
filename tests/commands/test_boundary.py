"""How commands end: one line on standard error, never a traceback, which is kept for whoever mends the fault."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import SCRIPTS, image_tree, write_recipe

from trainer.commands import boundary, finetune
from trainer.errors import DataError, SettingError
from trainer.stopping import Terminated


def end_of(monkeypatch, capsys, error):
    """Exit code and line of a command that raises."""

    def main(words):
        raise error

    monkeypatch.setattr(finetune, "main", main)
    monkeypatch.setattr(sys, "argv", ["scripts/finetune.py", "my recipe.yaml", "--seed=1"])
    with pytest.raises(SystemExit) as end:
        boundary.run("finetune")
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return end.value.code, line.strip()


def test_refusals_are_their_line(monkeypatch, capsys):
    assert end_of(monkeypatch, capsys, DataError("no images\nat all")) == (1, "error: no images at all")
    assert end_of(monkeypatch, capsys, SettingError("unknown key")) == (2, "error: unknown key")


def test_output_that_nobody_reads_is_no_fault():
    read, write = os.pipe()
    os.close(read)
    words = [sys.executable, "-m", "trainer.commands", "recipes"]
    done = subprocess.run(words, stdout=write, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_what_nobody_foresaw_is_its_kind_its_place_and_a_file(monkeypatch, capsys):
    code, line = end_of(monkeypatch, capsys, ZeroDivisionError("of all\nthings"))
    assert code == 1
    found = re.fullmatch(
        r"error: ZeroDivisionError in test_boundary\.py, line \d+: of all things; its traceback is in (\S+)", line
    )
    assert "raise error" in Path(found[1]).read_text()
    Path(found[1]).unlink()


def test_a_note_of_a_runs_folder_says_where_the_traceback_is(monkeypatch, capsys):
    error = RuntimeError("of all things")
    error.add_note("its traceback is in out/traceback.txt")
    error.add_note("--resume_from_checkpoint=true")
    code, line = end_of(monkeypatch, capsys, error)
    assert code == 1
    assert line.endswith("of all things; its traceback is in out/traceback.txt")


def test_what_the_machine_refuses_is_its_own_words_and_what_to_do(monkeypatch, capsys):
    error = OSError(28, "No space left on device", "out/history.jsonl")
    told = "error: No space left on device: out/history.jsonl; make room on that disk"
    assert end_of(monkeypatch, capsys, error) == (1, told)
    error.add_note("--resume_from_checkpoint=true")
    resume = "python scripts/finetune.py 'my recipe.yaml' --seed=1 --resume_from_checkpoint=true"
    assert end_of(monkeypatch, capsys, error) == (1, f"{told}; go on with: {resume}")


def test_an_interrupt_says_how_to_go_on_where_that_is_possible(monkeypatch, capsys):
    assert end_of(monkeypatch, capsys, KeyboardInterrupt()) == (130, "interrupted")
    stop = KeyboardInterrupt()
    stop.add_note("--resume_from_checkpoint=true")
    resume = "python scripts/finetune.py 'my recipe.yaml' --seed=1 --resume_from_checkpoint=true"
    assert end_of(monkeypatch, capsys, stop) == (130, f"interrupted; go on with: {resume}")
    stop = Terminated()
    stop.add_note("--resume_from_checkpoint=true")
    assert end_of(monkeypatch, capsys, stop) == (143, f"terminated; go on with: {resume}")


@pytest.mark.slow
def test_control_c_in_a_real_run_ends_in_a_line_that_goes_on(tmp_path):
    """Workers are interrupted with the run, as in a terminal.

    The line is the last one: where the signal meets a destructor, which is rare, Python itself speaks first.
    """
    flags = {"teacher": "none", "num_train_epochs": 400, "drw_start_epoch": 300, "dataloader_num_workers": 1}
    recipe = write_recipe(tmp_path, dataset=str(image_tree(tmp_path / "images")), save_steps=2, **flags)
    words = [sys.executable, str(SCRIPTS / "finetune.py"), recipe.name, "--output_dir=out", "--save_total_limit=1"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(words, cwd=tmp_path, start_new_session=True, **pipes) as process:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("out/checkpoint-*/trainer_state.json")) and time.monotonic() < deadline:
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    line = told.splitlines()[-1]
    command = line.removeprefix("interrupted; go on with: ").split()
    assert command[0] == "python"
    assert command[1:] == [*words[1:], "--resume_from_checkpoint=true"]
