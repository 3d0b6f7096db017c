"""Wrong input through the real command line: what each refusal must be, in this process and in one of its own.

A case is (make, words, status, message): `make(folder)` puts the wrong thing into a folder that already holds a good
data set `images`, a recipe `recipe.yaml` with its `teacher.yaml` and a trained-looking model folder `model`; `words`
are the command line, run in that folder; `message` is a regular expression of the line on standard error.
"""

import hashlib
import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import datasets
import pytest
from helpers import image_tree, tiny_student, write_recipe

from trainer.augmentation import image_processor
from trainer.commands.__main__ import main
from trainer.teachers import TeacherTrainer
from trainer.trainer import DeiTLTTrainer

ROOT = Path(__file__).parents[2]
COUNTS = (8, 6, 4)
REACHED = "a training step"
opened = []  # every file that Python opens in this process


@sys.addaudithook
def _note_what_is_opened(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        opened.append(os.fsdecode(arguments[0]))


@pytest.fixture
def folder(tmp_path, monkeypatch, tmp_path_factory):
    """The working directory of a case, with good data, a recipe without a teacher and a model; no network."""
    place = tmp_path / "work"
    place.mkdir()
    image_tree(place / "images", COUNTS, test=2)
    write_recipe(place, teacher="none", num_train_epochs=1, warmup_epochs=0, drw_start_epoch="none", repeats=1)
    tiny_student(COUNTS, id2label={i: f"level{i}" for i in range(len(COUNTS))}).save_pretrained(place / "model")
    image_processor(8).save_pretrained(place / "model")
    cache = tmp_path_factory.getbasetemp() / "datasets"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    for name, value in (("HF_DATASETS_CACHE", str(cache)), ("HF_HUB_OFFLINE", "1"), ("PYTHONPATH", str(ROOT))):
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def run(folder, monkeypatch, capfd):
    """Runs `deit-lt WORDS` in this process; a training step ends it with the status `REACHED`."""

    def training_step(*args, **kwargs):
        raise SystemExit(REACHED)

    for trainer in (DeiTLTTrainer, TeacherTrainer):
        monkeypatch.setattr(trainer, "training_step", training_step)

    def run(words):
        monkeypatch.setattr(sys, "argv", ["deit-lt", *shlex.split(words)])
        capfd.readouterr()
        try:
            main()
            status = 0
        except SystemExit as end:
            status = end.code
        return status, *capfd.readouterr()

    return run


@pytest.fixture
def refused(folder, run):
    """Checks one case in this process; returns the line."""
    return lambda make, words, status, message: _check(folder, make, status, message, lambda: run(words))


@pytest.fixture
def refused_by_process(folder):
    """The same by a process of its own, as a user meets it."""

    def start(words):
        command = [sys.executable, "-m", "trainer.commands", *shlex.split(words)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", cwd=folder, timeout=300)
        return done.returncode, done.stdout, done.stderr

    return lambda make, words, status, message: _check(folder, make, status, message, lambda: start(words))


@pytest.fixture
def trains(folder, run, monkeypatch):
    """Checks that what looks odd is fine: the command comes as far as the first training step."""
    monkeypatch.setattr("trainer.run.steps.estimate_run", lambda *args: {})  # takes longer than all the rest
    monkeypatch.setattr("trainer.run.steps.free_memory", lambda: None)

    def check(make, words):
        make(folder)
        status, _, told = run(words)
        assert status == REACHED, told
        return told

    return check


def _check(folder, make, status, message, start):
    make(folder)
    before = _contents(folder.parent)
    opened.clear()
    found, out, told = start()
    assert not [path for path in opened if f"{os.sep}outside{os.sep}" in os.path.realpath(path)]
    lines = [line for line in told.splitlines() if line.startswith("error:")]
    assert (found, len(lines)) == (status, 1), f"{found}: {told}"
    assert re.search(message, lines[0]), lines[0]
    assert told.splitlines()[-1] == lines[0], told  # the last word, so nothing was cut off by a line break in it
    assert "traceback" not in (out + told).lower()
    after = _contents(folder.parent)
    assert {path: after.get(path) for path in before} == before
    assert not any("traceback" in path for path in after)
    return lines[0]


def _contents(folder):
    """What each path below a folder is: links by where they lead, files by their digest."""
    found = {}
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(parent, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                found[path] = os.readlink(path)
            elif stat.S_ISREG(mode) and os.access(path, os.R_OK) and name != ".lock":
                found[path] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
            else:
                found[path] = mode
    return found
