"""Checkpoints are written while the training goes on: a step waits for a copy in host memory, not for the disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from accelerate.utils import recursively_apply
from safetensors import SafetensorError
from torch import Tensor
from transformers import Trainer, TrainerCallback
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME, TRAINING_ARGS_NAME
from transformers.trainer_utils import rotate_checkpoints

from trainer.errors import RunError
from trainer.resuming import STATE, checkpoint_folder, write_checksums

UNFINISHED = "unfinished_checkpoint"  # where one is written; only when it is whole it gets a checkpoint's name


class CheckpointWriter:
    """Writes the checkpoints of a training, one at a time.

    Between `begin` and `finish` Trainer saves as always, into a folder that no run resumes from. What is small is on
    the disk then; tensors were copied into host memory and are written by a thread, which completes the checkpoint,
    gives it its name and deletes those that are too many.

    Args:
        saves: whether this process saves, rather than another rank.
    """

    def __init__(self, saves: bool):
        self.saves = saves
        self._folder: Path | None = None
        self._writes: list[Callable[[], None]] = []
        self._writing: Future | None = None

    @property
    def run_folder(self) -> Path | None:
        """Folder in which the checkpoint that was begun is written, under its name; None between checkpoints."""
        return self._folder and self._folder.parent / UNFINISHED

    def begin(self, folder: Path) -> None:
        """Begin a checkpoint, when the one before is whole.

        Args:
            folder: that it shall have.

        Raises:
            RunError: as `wait`.
            OSError: the disk is full.
        """
        self.wait()
        self._folder = folder
        if self.saves:
            shutil.rmtree(self.run_folder, ignore_errors=True)  # what a kill left
            Path(self.run_folder, folder.name).mkdir(parents=True)

    def write(self, write: Callable, tensors) -> None:
        """Have a thread call `write(tensors)` with a copy of them in host memory; between checkpoints call it now.

        Args:
            write: writes a file.
            tensors: a state dict, or another nest of dicts and lists with tensors in it.
        """
        if self._folder is None:
            write(tensors)
        elif self.saves:
            self._writes.append(partial(write, recursively_apply(_on_host, tensors)))

    def finish(self, limit: int | None, best: str | None) -> None:
        """Have the thread complete the checkpoint.

        Args:
            limit: how many checkpoints are kept.
            best: one that is kept in any case.
        """
        folder, begun = self._folder, Path(self.run_folder, self._folder.name)
        writes, self._writes, self._folder = self._writes, [], None
        if self.saves:
            thread = ThreadPoolExecutor(1)
            self._writing = thread.submit(_complete, folder, begun, writes, limit, best)
            thread.shutdown(wait=False)  # it ends with its work

    def give_up(self) -> None:
        """Leave the checkpoint that was begun."""
        if self.saves and self._folder is not None:
            shutil.rmtree(self.run_folder, ignore_errors=True)
        self._writes, self._folder = [], None

    def wait(self) -> None:
        """Wait until the last checkpoint is whole.

        Raises:
            RunError: it could not be written.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()


def _on_host(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True)


def _complete(folder: Path, begun: Path, writes: list[Callable], limit: int | None, best: str | None) -> None:
    with saving(folder):
        try:
            for write in writes:
                write()
            write_checksums(begun)
            shutil.rmtree(folder, ignore_errors=True)  # a damaged one that the run did not resume from
            begun.rename(folder)
        finally:
            shutil.rmtree(begun.parent, ignore_errors=True)
    rotate_checkpoints(str(folder.parent), limit, best, use_mtime=True)


class SavingTrainer(Trainer):
    """transformers' Trainer, which goes on training while a checkpoint of it is written."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.writer = CheckpointWriter(self.args.should_save)

    def _save_checkpoint(self, model, trial) -> None:
        """Trainer's; a disk that is full or out of reach is one line, here or at the next checkpoint.

        It is waited for where something reads it: a callback of the user's, or the upload to the Hub.
        """
        args, state = self.args, self.state
        folder = checkpoint_folder(args.output_dir, state.global_step)
        try:
            with saving(folder):
                self.writer.begin(folder)
                super()._save_checkpoint(model, trial)
                if state.best_global_step and args.should_save:  # Trainer looks for it where this one is written
                    state.best_model_checkpoint = str(checkpoint_folder(args.output_dir, state.best_global_step))
                    state.save_to_json(str(Path(self._get_output_dir(trial), folder.name, STATE)))
            self.writer.finish(args.save_total_limit, state.best_model_checkpoint)
        finally:
            self.writer.give_up()
        callbacks = self.callback_handler.callbacks
        if args.push_to_hub or any(type(callback).on_save is not TrainerCallback.on_save for callback in callbacks):
            self.writer.wait()
        if args.push_to_hub:
            super()._push_from_checkpoint(str(folder))

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Nothing where Trainer calls it, before the checkpoint is whole."""

    def _finalize_training(self, *args, **kwargs):
        """Trainer's, which looks at the checkpoints."""
        self.writer.wait()
        return super()._finalize_training(*args, **kwargs)

    def _get_output_dir(self, trial) -> str:
        """Trainer's, but for the checkpoint that is being written."""
        return str(self.writer.run_folder or super()._get_output_dir(trial))

    def _save(self, output_dir: str | None = None, state_dict=None) -> None:
        """Trainer's without training_args.bin: a pickle, which runs code where it is loaded, and nobody loads it."""
        folder, save = output_dir or self.args.output_dir, super()._save

        def write(weights) -> None:
            save(folder, weights)
            if self.args.should_save:
                Path(folder, TRAINING_ARGS_NAME).unlink(missing_ok=True)

        if self.is_fsdp_enabled:  # whose model is another one only for now
            write(state_dict)
        else:
            self.writer.write(write, self.model.state_dict() if state_dict is None else state_dict)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """Trainer's; the state of an optimiser that is not divided is written later."""
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._save_optimizer_and_scheduler(output_dir)
        elif self.args.should_save:
            file = Path(output_dir, OPTIMIZER_NAME)
            self.writer.write(lambda state: torch.save(state, file), self.optimizer.state_dict())
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir, SCHEDULER_NAME))


@contextmanager
def saving(folder: Path) -> Iterator[None]:
    """Context manager around the writing of a checkpoint.

    Args:
        folder: that it shall have.

    Raises:
        RunError: one line, where a disk is full or out of reach.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:  # each library has one of its own for a full disk
        free = shutil.disk_usage(_existing(folder)).free
        reason = " ".join(str(error).split())[:200]
        raise RunError(
            f"{folder} could not be saved ({reason}; {free / 2**20:,.0f} MiB are free there); what was saved before "
            "is whole: make room, then go on with --resume_from_checkpoint=true"
        ) from error


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())
