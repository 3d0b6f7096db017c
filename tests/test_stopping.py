"""SIGTERM in a training: a checkpoint, an end in order, and a run that goes on as if it had not been stopped."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch
from helpers import (
    SCRIPTS,
    arguments,
    history,
    image_tree,
    teacher,
    tiny_student,
    training_images,
    weights,
    write_recipe,
)

from trainer.augmentation import EvaluationImages, image_processor
from trainer.resuming import last_complete_checkpoint
from trainer.stopping import StopAtSignal, Terminated, raise_terminated
from trainer.trainer import DeiTLTTrainer


class Signalled(DeiTLTTrainer):
    """Gets SIGTERM in the middle of a step."""

    at = None

    def compute_loss(self, model, inputs, **kwargs):
        if model.training and self.state.global_step == self.at:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().compute_loss(model, inputs, **kwargs)


def train(folder, at=None, resume=None, seed=0, **settings):
    """A student of 12 steps, which logs every third and saves every fifth, or gets SIGTERM at a step."""
    shared = {"num_train_epochs": 3, "drw_start_epoch": 2, "logging_steps": 3, "save_total_limit": 10}
    shared |= {"save_strategy": "steps", "save_steps": 5, "model_selection": "validation", **settings}
    processor = image_processor(8, 1.0)
    model = tiny_student(drop_path_rate=0.3, seed=seed)
    data = {"train_dataset": training_images(), "eval_dataset": EvaluationImages(training_images().dataset, processor)}
    trainer = Signalled(model, arguments(folder, **shared), teacher(), **data, processing_class=processor)
    trainer.at = at
    with raise_terminated():
        trainer.train(resume_from_checkpoint=resume)
    return trainer


@pytest.mark.parametrize("settings", [{}, {"save_strategy": "epoch"}])
@pytest.mark.parametrize("at", [6, 9, 11])
def test_a_stopped_run_goes_on_as_if_it_had_not_been(tmp_path, at, settings):
    """Weights, average, choice and history; also where a step of a log, of a checkpoint, or the last one is hit."""
    whole = train(tmp_path / "whole", **settings)
    with pytest.raises(Terminated):
        train(tmp_path / "cut", at=at, **settings)
    assert last_complete_checkpoint(tmp_path / "cut") == str(tmp_path / "cut" / f"checkpoint-{at + 1}")
    resumed = train(tmp_path / "cut", resume=last_complete_checkpoint(tmp_path / "cut"), seed=9, **settings)
    assert torch.equal(weights(resumed.model), weights(whole.model))
    averages = [t.ema_callback.weights for t in (whole, resumed)]
    assert all(torch.equal(averages[0][name], averages[1][name]) for name in averages[0])
    assert resumed.state.best_global_step == whole.state.best_global_step
    assert resumed.state.best_metric == whole.state.best_metric
    rows = [history(tmp_path / run) for run in ("whole", "cut")]
    for before, after in zip(*rows, strict=True):
        assert before.keys() == after.keys()
        same = [key for key in before if "runtime" not in key and "per_second" not in key and key != "train_loss"]
        assert all(before[key] == pytest.approx(after[key], rel=1e-6) for key in same)


def test_python_users_without_a_handler_of_their_own_end_as_a_process_does(tmp_path):
    """The signal is sent again to whoever had it before, once the checkpoint is there."""
    noticed = []
    before = signal.signal(signal.SIGTERM, lambda *args: noticed.append(last_complete_checkpoint(tmp_path)))
    try:
        trainer = Signalled(
            tiny_student(), arguments(tmp_path, num_train_epochs=3), teacher(), train_dataset=training_images()
        )
        trainer.at = 3
        with pytest.raises(Exception, match="stopped at step 4 of 12"):
            trainer.train()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert noticed == [str(tmp_path / "checkpoint-4")]


def test_a_signal_after_the_last_step_is_not_lost(tmp_path, monkeypatch):
    """No step follows that would look for it, and schedulers do not send it twice."""

    def save(self, *args):
        if self.state.global_step == self.state.max_steps:
            os.kill(os.getpid(), signal.SIGTERM)
        return DeiTLTTrainer._save_checkpoint(self, *args)

    monkeypatch.setattr(Signalled, "_save_checkpoint", save, raising=False)
    with pytest.raises(Terminated):
        train(tmp_path)
    assert last_complete_checkpoint(tmp_path) == str(tmp_path / "checkpoint-12")


def test_other_threads_cannot_have_handlers_and_need_none():
    failed = []

    def enter():
        try:
            with StopAtSignal(), raise_terminated():
                pass
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert not failed


@pytest.mark.parametrize("workers", [pytest.param(0, marks=pytest.mark.slow), 2])
def test_a_real_run_saves_at_sigterm_and_prints_how_to_go_on(tmp_path, workers):
    """The signal reaches workers too, as schedulers send it; no checkpoint was due."""
    flags = {"teacher": "none", "num_train_epochs": 400, "drw_start_epoch": 300, "dataloader_num_workers": workers}
    recipe = write_recipe(tmp_path, dataset=str(image_tree(tmp_path / "images")), logging_steps=1, **flags)
    words = [sys.executable, str(SCRIPTS / "finetune.py"), recipe.name, "--output_dir=out", "--save_steps=1000"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(words, cwd=tmp_path, start_new_session=True, **pipes) as process:
        deadline = time.monotonic() + 120
        file = tmp_path / "out" / "history.jsonl"
        while not (file.is_file() and file.stat().st_size > 1000) and time.monotonic() < deadline:
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGTERM)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 143, told
    resume = ["python", *words[1:], "--resume_from_checkpoint=true"]
    assert told.splitlines()[-1].removeprefix("terminated; go on with: ").split() == resume
    assert "Traceback" not in told
    checkpoint = last_complete_checkpoint(tmp_path / "out")
    assert checkpoint is not None
    assert history(tmp_path / "out")[-1]["step"] == int(checkpoint.rsplit("-", 1)[1])


def test_a_worker_leaves_signals_to_its_run_and_shared_memory_as_it_is(tmp_path):
    """A garbage collection in it would write into each object of its parent, and so copy it."""
    settings = arguments(tmp_path, dataloader_num_workers=1)
    trainer = DeiTLTTrainer(tiny_student(), settings, train_dataset=training_images())
    trainer.data_collator = lambda rows: [signal.getsignal(signal.SIGTERM), gc.get_freeze_count()]
    handler, frozen = next(iter(trainer.get_train_dataloader().base_dataloader))
    assert handler == signal.SIG_IGN
    assert frozen > 100_000


def test_a_process_ends_although_a_loader_with_workers_is_left(tmp_path):
    """As after an error whose traceback keeps it; multiprocessing would wait for the workers forever. A process that
    was forked from it leaves them alone."""
    script = """
import os, sys
from torch.utils.data import DataLoader
from trainer.workers import prepare_workers
loader = DataLoader(range(99), num_workers=3, persistent_workers=True)
prepare_workers(loader)
left = iter(loader)
next(left)
if os.fork() == 0:
    sys.stderr = None  # where multiprocessing says that the workers are not its children
    sys.exit()
os.wait()
for _ in range(50):
    next(left)
print("went on")
"""
    command = [sys.executable, "-W", "ignore", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "went on\n", "")
