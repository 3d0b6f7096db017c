"""Runs that cannot be resumed, and folders that are not theirs, through the command line."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from helpers import write_recipe
from safetensors.torch import load_file, save_file

RESUME = "finetune recipe.yaml --output_dir=out --resume_from_checkpoint=true"
NAMED = "finetune recipe.yaml --output_dir=new --resume_from_checkpoint="


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """The output folder of a run of six steps that was killed after its checkpoints 2 and 4."""
    from helpers import command, image_tree

    folder = tmp_path_factory.mktemp("stopped")
    image_tree(folder / "images", (8, 6, 4), test=2)
    write_recipe(folder, teacher="none", num_train_epochs=2, repeats=1, drw_start_epoch="none", dataset="images")
    done = command("finetune", "recipe.yaml", "--output_dir=out", "--save_steps=2", "--save_total_limit=9", cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "out" / "metrics.json").unlink()
    shutil.rmtree(folder / "out" / "checkpoint-6")
    return folder


@pytest.fixture
def folder(folder, stopped):
    """The working directory of a case, with that run."""
    shutil.copytree(stopped / "out", folder / "out")
    shutil.rmtree(folder / "images")
    shutil.copytree(stopped / "images", folder / "images")
    shutil.copy(stopped / "recipe.yaml", folder)
    return folder


class Payload:
    """What unpickling would run."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


def remove(*names):
    def make(folder):
        for path in (path for name in names for path in sorted(folder.glob(name))):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return make


def write(name, content=b""):
    def make(folder):
        for path in folder.glob(name):
            path.write_bytes(content)

    return make


def payload(name):
    def make(folder):
        torch.save({"state": {}, "more": Payload()}, folder / "out" / "checkpoint-4" / name)
        (folder / "out" / "checkpoint-4" / "checksums.json").unlink()

    return make


def kind(word):
    def make(folder):
        settings = json.loads((folder / "out" / "settings.json").read_text())
        (folder / "out" / "settings.json").write_text(json.dumps({**settings, "kind": word}))

    return make


def not_finite(folder):
    for file in folder.glob("out/checkpoint-*/model.safetensors"):
        save_file({name: tensor * float("nan") for name, tensor in load_file(file).items()}, file)
        (file.parent / "checksums.json").unlink()


def other_weights(folder):
    for file in folder.glob("out/checkpoint-*/model.safetensors"):
        save_file({name: tensor[:1] for name, tensor in load_file(file).items()}, file)
        (file.parent / "checksums.json").unlink()


def one_more(folder):
    path = folder / "images" / "train" / "level2" / "one_more.png"
    shutil.copy(next(path.parent.iterdir()), path)


def nothing(folder):
    """The fault is in the command line."""


# name: what is wrong, the command line, the exit status, the message.
CASES = {
    "no folder": (nothing, RESUME.replace("=out", "=absent"), 1, "there is no run in absent to resume"),
    "a folder of something else": (nothing, RESUME.replace("=out", "=images"), 1, "no student's run in images"),
    "a teacher's folder": (kind("teacher"), RESUME, 1, "there is no student's run in out to resume"),
    "a student's folder": (
        nothing,
        "train-teacher teacher.yaml --dataset=images --output_dir=out --resume_from_checkpoint=true",
        1,
        "there is no teacher's run in out to resume",
    ),
    "a new run over it": (
        nothing,
        "finetune recipe.yaml --output_dir=out",
        1,
        "out is not empty; go on with --resume",
    ),
    "complete": (
        lambda folder: (folder / "out" / "metrics.json").write_text("{}"),
        RESUME,
        1,
        "the run in out is complete",
    ),
    "settings cut off": (write("out/settings.json", b'{"kind": "stu'), RESUME, 1, r"settings\.json cannot be read"),
    "settings of another form": (write("out/settings.json", b"[]"), RESUME, 1, r"settings\.json does not hold"),
    "no settings": (remove("out/settings.json"), RESUME, 1, "there is no student's run in out to resume"),
    "other epochs": (nothing, f"{RESUME} --num_train_epochs=3", 1, r"num_train_epochs 2\.0, now 3\.0"),
    "other width": (nothing, f"{RESUME} --hidden_size=32", 1, "hidden_size 16, now 32"),
    "other batch": (nothing, f"{RESUME} --per_device_train_batch_size=3", 1, "of all ranks 7, now 3"),
    "no average": (nothing, f"{RESUME} --ema_decay=0", 1, r"ema_decay 0\.9999, now 0\.0"),
    "a teacher": (nothing, f"{RESUME} --teacher=teacher.yaml", 1, "teacher None, now a recipe"),
    "other data": (nothing, f"{RESUME} --rho=2", 1, r"rho None, now 2\.0"),
    "one more image": (one_more, RESUME, 1, "was begun with other images, labels or class names"),
    "a class renamed": (
        lambda folder: [path.rename(path.with_name("level9")) for path in folder.glob("images/*/level2")],
        RESUME,
        1,
        "was begun with other images, labels or class names",
    ),
    "other settings, named": (nothing, f"{NAMED}out/checkpoint-4 --seed=1", 1, "seed 0, now 1"),
    "named and not there": (nothing, f"{NAMED}out/checkpoint-5", 1, r"checkpoint-5 is not a complete checkpoint"),
    "named and empty": (
        lambda folder: (folder / "checkpoint-9").mkdir(),
        f"{NAMED}checkpoint-9",
        1,
        r"it has no trainer_state\.json",
    ),
    "named and a file": (nothing, f"{NAMED}recipe.yaml", 1, "is not a complete checkpoint"),
    "named and a model": (nothing, f"{NAMED}model", 1, "is not a complete checkpoint"),
    "a word": (nothing, f"{NAMED}yes-please", 1, "is not a complete checkpoint"),
    "named, without optimiser": (
        remove("out/checkpoint-4/optimizer.pt"),
        f"{NAMED}out/checkpoint-4",
        1,
        r"it has no optimizer\.pt",
    ),
    "named, without average": (
        remove("out/checkpoint-4/ema.safetensors"),
        f"{NAMED}out/checkpoint-4",
        1,
        r"it has no ema\.safetensors",
    ),
    "named and torn": (
        write("out/checkpoint-4/optimizer.pt", b"PK"),
        f"{NAMED}out/checkpoint-4",
        1,
        r"optimizer\.pt is damaged",
    ),
    "named, the state of another program": (
        write("out/checkpoint-4/trainer_state.json", b'{"global_step": 4, "max_steps": 6, "mine": 1}'),
        f"{NAMED}out/checkpoint-4",
        1,
        r"trainer_state\.json is damaged",
    ),
    "payload in the optimiser": (payload("optimizer.pt"), RESUME, 1, r"optimizer\.pt holds more than data"),
    "payload in the schedule": (payload("scheduler.pt"), RESUME, 1, r"scheduler\.pt holds more than data"),
    "payload in the generators": (payload("rng_state.pth"), RESUME, 1, r"rng_state\.pth holds more than data"),
    "payload in the scaler": (payload("scaler.pt"), RESUME, 1, r"scaler\.pt holds more than data"),
    "payload in the arguments": (payload("training_args.bin"), RESUME, 1, r"training_args\.bin holds more than data"),
    "payload, named": (
        payload("optimizer.pt"),
        f"{NAMED}out/checkpoint-4",
        1,
        r"optimizer\.pt holds more than data",
    ),
    "weights of another network": (other_weights, RESUME, 1, "does not hold the weights of this model"),
    "weights not finite": (not_finite, RESUME, 1, "not finite"),
}


@pytest.mark.parametrize("name", CASES)
def test_refused(refused, folder, name):
    refused(*CASES[name])
    assert not (folder / "ran").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CASES)[::4])  # a process takes seconds to start
def test_refused_by_a_process(refused_by_process, folder, name):
    refused_by_process(*CASES[name])
    assert not (folder / "ran").exists()


def test_two_runs_into_one_folder(refused, folder):
    with FileLock(folder / "out" / ".lock"):
        for words in (RESUME, "finetune recipe.yaml --output_dir=out"):
            refused(nothing, words, 1, "another run works in out; wait for its end")


def test_as_it_is_it_goes_on(trains):
    assert trains(nothing, RESUME) == ""


TORN = {"cut off": lambda content: content[: len(content) // 2], "zeros": lambda content: bytes(len(content))}


@pytest.mark.parametrize("torn", TORN)
@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", "ema.safetensors", "trainer_state.json"])
def test_a_torn_file_in_the_newest_checkpoint_is_said_and_the_one_before_is_taken(trains, folder, caplog, name, torn):
    file = folder / "out" / "checkpoint-4" / name
    trains(lambda folder: file.write_bytes(TORN[torn](file.read_bytes())), RESUME)
    assert f"out/checkpoint-4 is not a complete checkpoint: {name} is damaged; passed over" in caplog.text


def test_without_any_whole_checkpoint_it_starts_anew_and_says_so(trains, caplog):
    trains(write("out/checkpoint-*/optimizer.pt"), RESUME)
    assert "out has no whole checkpoint; the run starts anew" in caplog.text


def test_checkpoints_whose_files_are_not_there_any_more(trains, folder):
    """Rotated away: the older one."""
    assert trains(remove("out/checkpoint-2"), RESUME) == ""
    assert [path.name for path in Path(folder, "out").glob("checkpoint-*")] == ["checkpoint-4"]
