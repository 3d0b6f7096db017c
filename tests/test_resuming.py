"""Which checkpoint a run resumes from: complete, undamaged, and nothing but data."""

import functools
import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import history, tiny_student, train, weights
from safetensors import safe_open

from trainer.errors import CheckpointError, RunError, UnsafeFileError
from trainer.resuming import check_checkpoint, last_complete_checkpoint
from trainer.saving import saving

FILES = (
    *("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "ema.safetensors", "config.json"),
    *("sums_since_log.json", "checksums.json", "trainer_state.json"),
)


@functools.cache
def three_checkpoints():
    """A run's folder, made once: checkpoints 4, 8 and 12."""
    folder = tempfile.mkdtemp()
    train(folder, save_strategy="epoch", num_train_epochs=3, save_total_limit=10)
    return folder


@pytest.fixture
def run(tmp_path):
    """A copy of that folder."""
    return Path(shutil.copytree(three_checkpoints(), tmp_path / "run"))


def test_a_checkpoint_that_was_cut_off_is_passed_over(run, tmp_path):
    assert last_complete_checkpoint(run) == str(run / "checkpoint-12")
    (run / "checkpoint-12" / "trainer_state.json").write_text('{"global_st')
    assert last_complete_checkpoint(run) == str(run / "checkpoint-8")
    (run / "checkpoint-8" / "trainer_state.json").unlink()
    assert last_complete_checkpoint(run) == str(run / "checkpoint-4")
    assert last_complete_checkpoint(tmp_path / "nowhere") is None


def test_every_file_is_tested():
    assert {path.name for path in Path(three_checkpoints(), "checkpoint-12").iterdir()} == {
        *FILES,
        "preprocessor_config.json",
        *("configuration_deit_lt.py", "layers_deit_lt.py", "modeling_deit_lt.py"),
    }


def torn(content):
    """Cut in half, empty, its end zeros as after a loss of power, one byte in the middle another."""
    middle = len(content) // 2
    return (
        content[:middle],
        b"",
        content[:middle] + bytes(len(content) - middle),
        content[:middle] + bytes([content[middle] ^ 0x15]) + content[middle + 1 :],
    )


@pytest.mark.parametrize("name", [name for name in FILES if name != "trainer_state.json"])
def test_a_damaged_checkpoint_is_passed_over_and_named(run, caplog, name):
    """Each of its files in turn."""
    newest = run / "checkpoint-12"
    content = (newest / name).read_bytes()
    for damaged in torn(content):
        (newest / name).write_bytes(damaged)
        assert last_complete_checkpoint(run) == str(run / "checkpoint-8")
        found = caplog.records[-1].getMessage()
        assert "checkpoint-12 is not a complete checkpoint: " in found
        # With a wrong sum or name in it, another file seems damaged or missing.
        assert f"{name} is damaged; passed over" in found or name == "checksums.json"
        with pytest.raises(CheckpointError, match="is not a complete checkpoint"):
            check_checkpoint(newest)
    (newest / name).write_bytes(content)
    assert last_complete_checkpoint(run) == str(newest)


def test_the_state_that_completes_a_checkpoint_is_checked_for_what_it_says(run):
    file = run / "checkpoint-12" / "trainer_state.json"
    content = file.read_bytes()
    for damaged in (*torn(content)[:3], b"[]", b"{}", b'{"global_step": "12"}', b'{"global_step": 12}'):
        file.write_bytes(damaged)
        assert last_complete_checkpoint(run) == str(run / "checkpoint-8")


@pytest.mark.parametrize("name", [name for name in FILES if name not in ("config.json", "checksums.json")])
def test_without_one_of_its_files_a_checkpoint_would_start_that_anew(run, name):
    (run / "checkpoint-12" / name).unlink()
    assert last_complete_checkpoint(run, also=("ema.safetensors",)) == str(run / "checkpoint-8")


def test_checkpoints_of_a_version_without_checksums_are_taken(run):
    for name in ("checksums.json", "sums_since_log.json"):
        (run / "checkpoint-12" / name).unlink()
    assert last_complete_checkpoint(run) == str(run / "checkpoint-12")


def test_from_python_the_newest_whole_checkpoint_is_taken_too(run):
    """Trainer's own choice is the newest, which cannot be read here."""
    (run / "checkpoint-12" / "model.safetensors").write_bytes(b"")
    (run / "checkpoint-8" / "ema.safetensors").write_bytes(b"")
    trainer = train(run, resume=True, save_strategy="epoch", num_train_epochs=3, save_total_limit=10)
    assert (trainer.history.first_step, trainer.state.global_step) == (4, 12)
    for path in run.glob("checkpoint-*"):
        shutil.rmtree(path)
    with pytest.raises(CheckpointError, match=r"no complete checkpoint in .* to resume"):
        train(run, resume=True)


class Payload:
    """What unpickling would run."""

    def __init__(self, file):
        self.file = str(file)

    def __reduce__(self):
        return os.system, (f"touch {self.file}",)


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "scaler.pt", "training_args.bin"])
@pytest.mark.parametrize("hidden", [False, True])
def test_a_payload_is_refused_and_does_not_run(run, tmp_path, name, hidden):
    """Alone, and among the file's true content; its checksum is right, as an attacker would make it."""
    newest, mark = run / "checkpoint-12", tmp_path / "ran"
    content = {"state": torch.zeros(2), "extra": Payload(mark)} if hidden else Payload(mark)
    torch.save(content, newest / name)
    (newest / "checksums.json").unlink()
    with pytest.raises(
        UnsafeFileError, match=f"{name} holds more than data, which could run code, and was not loaded"
    ):
        last_complete_checkpoint(run)
    with pytest.raises(UnsafeFileError):
        check_checkpoint(newest)
    assert not mark.exists()


def test_a_pickle_of_the_old_kind_is_not_read_at_all(run, tmp_path):
    """torch's own format is an archive; what is none is damaged, whatever it holds."""
    import pickle

    for name in ("optimizer.pt", "rng_state.pth"):
        (run / "checkpoint-12" / name).write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
        assert last_complete_checkpoint(run) == str(run / "checkpoint-8")
    assert not (tmp_path / "ran").exists()


def test_what_is_saved_holds_no_pickle_of_settings():
    folder = Path(three_checkpoints())
    assert not list(folder.rglob("training_args.bin"))
    assert len(list(folder.rglob("*.pt"))) == 6  # three optimisers and three schedules, read as data alone


def test_a_run_goes_on_with_what_it_summed_up_for_the_next_log(tmp_path):
    """Logs at 3, 6, 9 and 12, checkpoints at 4 and 8: the log at 6 tells of steps 4 to 6 all the same."""
    shared = {"num_train_epochs": 3, "save_strategy": "steps", "save_steps": 4, "logging_steps": 3}
    shared |= {"save_total_limit": 10, "drw_start_epoch": 1}
    whole = train(tmp_path / "whole", **shared)
    cut = shutil.copytree(tmp_path / "whole" / "checkpoint-4", tmp_path / "cut" / "checkpoint-4")
    shutil.copy(tmp_path / "whole" / "history.jsonl", tmp_path / "cut")
    resumed = train(tmp_path / "cut", model=tiny_student(seed=9), resume=str(cut), **shared)
    assert torch.equal(weights(resumed.model), weights(whole.model))
    rows = [[row for row in history(tmp_path / run) if "train_runtime" not in row] for run in ("whole", "cut")]
    assert [row["step"] for row in rows[0]] == [3, 6, 9, 12]
    for before, after in zip(*rows, strict=True):
        assert before.keys() == after.keys()
        assert all(before[key] == pytest.approx(after[key], rel=1e-6) for key in before)
    assert [row["drw"] for row in rows[0]] == pytest.approx([0, 2 / 3, 1, 1])


def test_a_full_disk_is_one_line_and_costs_nothing_old(run, tmp_path, monkeypatch):
    """Whichever library meets it first; what was begun is removed, since the room is needed."""
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}

    def full(*args, **kwargs):
        with open("/dev/full", "wb") as file:
            file.write(bytes(2**16))

    shared = {"save_strategy": "epoch", "num_train_epochs": 4, "save_total_limit": 1}
    for place in ("torch.save", "trainer.callbacks.save_file", "trainer.saving.write_checksums"):
        monkeypatch.setattr(place, full)
        with pytest.raises(
            RunError, match=r"checkpoint-16 could not be saved \(.*No space left on device.* MiB are free"
        ):
            train(run, resume=str(run / "checkpoint-12"), **shared)
        monkeypatch.undo()
        assert not (run / "checkpoint-16").exists()
        after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and "checkpoint" in str(path)}
        assert after == {path: content for path, content in before.items() if "checkpoint" in str(path)}
    train(run, resume=str(run / "checkpoint-12"), **shared)
    assert [path.name for path in run.glob("checkpoint-*")] == ["checkpoint-16"]


def test_what_a_disk_says_is_one_line(tmp_path):
    for error in (OSError(28, "No space left on device"), RuntimeError("PytorchStreamWriter failed\nwriting file")):
        with pytest.raises(RunError) as refusal, saving(tmp_path / "checkpoint-7"):
            raise error
        assert "\n" not in str(refusal.value)
    with pytest.raises(ZeroDivisionError), saving(tmp_path / "checkpoint-7"):
        raise ZeroDivisionError


def test_checksums_are_those_of_zlib(run):
    import zlib

    newest = run / "checkpoint-12"
    sums = json.loads((newest / "checksums.json").read_text())
    assert sums.keys() == {path.name for path in newest.iterdir()} - {"checksums.json", "trainer_state.json"}
    assert all(zlib.crc32((newest / name).read_bytes()) == checksum for name, checksum in sums.items())
    with safe_open(newest / "model.safetensors", "pt") as file:
        assert np.isfinite(file.get_tensor("cls_classifier.weight").numpy()).all()
