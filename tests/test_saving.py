"""Checkpoints are written while the training goes on, and are the same as if it had waited."""

import json
import threading
from pathlib import Path

import pytest
import torch
from helpers import arguments, teacher, tiny_student, train, training_images, weights
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from trainer.errors import RunError
from trainer.resuming import check_checkpoint, last_complete_checkpoint
from trainer.saving import UNFINISHED
from trainer.trainer import DeiTLTTrainer


class Recorder(TrainerCallback):
    """Keeps the weights of each step, and opens a gate at one of them."""

    def __init__(self, at=None):
        self.at, self.gate, self.weights, self.names = at, threading.Event(), {}, {}

    def on_step_end(self, args, state, control, model=None, **kwargs):
        self.weights[state.global_step] = {name: weight.clone() for name, weight in model.state_dict().items()}
        self.names[state.global_step] = sorted(path.name for path in Path(args.output_dir).glob("checkpoint-*"))
        if state.global_step == self.at:
            self.gate.set()


def recorded(folder, *callbacks, **overrides):
    """A trainer of three epochs of four steps, which saves after each, and what was recorded."""
    args = arguments(folder, save_strategy="epoch", num_train_epochs=3, save_total_limit=10, **overrides)
    trainer = DeiTLTTrainer(tiny_student(), args, teacher(), train_dataset=training_images())
    for callback in callbacks:
        trainer.add_callback(callback)
    return trainer


def test_steps_go_on_while_a_checkpoint_is_written(tmp_path, monkeypatch):
    """The first one's EMA is written only after step 6; until then no folder has the name of a checkpoint."""
    recorder = Recorder(at=6)

    def slow(*args, **kwargs):
        assert recorder.gate.wait(60)  # a training that waits for the disk never comes to step 6
        return save_file(*args, **kwargs)

    monkeypatch.setattr("trainer.callbacks.save_file", slow)
    trainer = recorded(tmp_path, recorder)
    trainer.train()
    assert recorder.names[5] == recorder.names[6] == []
    for step in (4, 8, 12):
        folder = tmp_path / f"checkpoint-{step}"
        check_checkpoint(folder)
        saved = load_file(folder / "model.safetensors")
        assert saved.keys() == recorder.weights[step].keys()
        assert all(torch.equal(saved[name], recorder.weights[step][name]) for name in saved)
        assert {int(state["step"]) for state in optimizer(folder)["state"].values()} == {step}
    assert not (tmp_path / UNFINISHED).exists()


def optimizer(folder):
    return torch.load(folder / "optimizer.pt", weights_only=True)


def test_a_checkpoint_of_the_background_is_resumed_as_any_other(tmp_path):
    whole = train(tmp_path / "whole", save_strategy="epoch", num_train_epochs=3)
    resumed = train(tmp_path / "again", resume=str(tmp_path / "whole" / "checkpoint-8"), num_train_epochs=3)
    assert torch.equal(weights(resumed.model), weights(whole.model))


def test_what_cannot_be_written_stops_the_training_at_the_next_checkpoint(tmp_path, monkeypatch):
    recorder = Recorder()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trainer.callbacks.save_file", full)
    with pytest.raises(RunError, match=r"checkpoint-4 could not be saved .*No space left on device"):
        recorded(tmp_path, recorder).train()
    assert max(recorder.weights) == 8
    assert not list(tmp_path.glob("checkpoint-*"))
    assert not (tmp_path / UNFINISHED).exists()


def test_what_a_kill_left_is_passed_over_and_goes_with_the_next_checkpoint(tmp_path):
    left = tmp_path / UNFINISHED / "checkpoint-90"
    left.mkdir(parents=True)
    (left / "trainer_state.json").write_text("{}")
    assert last_complete_checkpoint(tmp_path) is None
    recorded(tmp_path).train()
    assert last_complete_checkpoint(tmp_path) == str(tmp_path / "checkpoint-12")
    assert not (tmp_path / UNFINISHED).exists()


def test_a_damaged_checkpoint_of_the_same_step_is_replaced(tmp_path):
    train(tmp_path, save_strategy="epoch", num_train_epochs=3)
    (tmp_path / "checkpoint-12" / "model.safetensors").write_bytes(b"torn")
    train(tmp_path, save_strategy="epoch", num_train_epochs=3, resume=str(tmp_path / "checkpoint-8"))
    check_checkpoint(tmp_path / "checkpoint-12")


def test_a_callback_of_the_user_finds_the_whole_checkpoint(tmp_path):
    class Reader(TrainerCallback):
        steps = ()

        def on_save(self, args, state, control, **kwargs):
            check_checkpoint(Path(args.output_dir, f"checkpoint-{state.global_step}"))
            self.steps += (state.global_step,)

    reader = Reader()
    recorded(tmp_path, reader).train()
    assert reader.steps == (4, 8, 12)


def test_too_many_checkpoints_go_but_the_best_one_stays(tmp_path):
    class Best(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            state.best_global_step = 4

    trainer = recorded(tmp_path, Best())
    trainer.args.save_total_limit = 2
    trainer.train()
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-12", "checkpoint-4"]
    assert trainer.state.best_model_checkpoint == str(tmp_path / "checkpoint-4")
    state = json.loads((tmp_path / "checkpoint-12" / "trainer_state.json").read_text())
    assert state["best_model_checkpoint"] == trainer.state.best_model_checkpoint
