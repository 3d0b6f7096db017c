"""Trainer callbacks: exponential moving average (EMA) of the weights, choice of a checkpoint, epoch, history file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from accelerate import PartialState
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback

from trainer.errors import CheckpointError
from trainer.ranks import from_first_rank, load_from_first_rank, on_first_rank, whole_weights
from trainer.resuming import check_checkpoint, checkpoint_folder
from trainer.saving import CheckpointWriter

EMA_FILE = "ema.safetensors"
HISTORY_FILE = "history.jsonl"


class EmaCallback(TrainerCallback):
    """Exponential moving average of the weights, once per optimiser step, saved with and restored from checkpoints.

    The decay grows with the step, `min(decay, 1 - step ** (-2/3))`, so that short runs forget their random start; it
    is computed from the step, so a resumed run goes on as if it had not stopped. Under FSDP each rank averages its
    share (timm's ModelEmaV3, which does the same arithmetic, copies the model, which FSDP does not allow).

    Args:
        decay: its limit, in (0, 1).

    Attributes:
        weights: the average, as a state dict of the model.
    """

    def __init__(self, decay: float):
        self.decay = decay
        self.weights: dict[str, Tensor] = {}
        self.resume_from: str | None = None

    def on_train_begin(self, args, state, control, model: nn.Module = None, **kwargs):
        """Start from the model's weights, or from the checkpoint that the run resumes."""
        self.weights = copied(model.state_dict())
        if self.resume_from is not None:
            own, saved = self.weights, on_first_rank(lambda: self._read(self.resume_from))
            load_from_first_rank(model, saved)
            self.weights = copied(model.state_dict())
            model.load_state_dict(own)

    @torch.no_grad()
    def on_step_end(self, args, state, control, model: nn.Module = None, **kwargs):
        """Update the EMA after each optimiser step."""
        decay = min(self.decay, 1 - state.global_step ** (-2 / 3))
        torch._foreach_lerp_(local(self.weights), local(model.state_dict()), weight=1 - decay)

    def save(self, folder: str, writer: CheckpointWriter) -> None:
        """Save the EMA into a checkpoint; for all ranks together."""
        weights = whole_weights(self.weights)
        if PartialState().is_main_process:
            writer.write(lambda held: save_file(held, Path(folder, EMA_FILE)), weights)

    @staticmethod
    def _read(folder: str) -> dict[str, Tensor]:
        file = Path(folder, EMA_FILE)
        if not file.is_file():
            raise CheckpointError(f"{file} is missing, so the weight average cannot go on; set --ema_decay 0")
        return load_file(file)


def copied(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict that the model's training leaves alone."""
    return {name: weight.clone() for name, weight in weights.items()}


def local(weights: dict[str, Tensor]) -> list[Tensor]:
    """This rank's share of each weight: all of it, but for FSDP."""
    return [weight.to_local() if isinstance(weight, DTensor) else weight for weight in weights.values()]


class SelectionCallback(TrainerCallback):
    """Evaluates wherever a checkpoint is saved and tells Trainer, which keeps it, at which step the best one was.

    Args:
        metric: of the evaluation, higher is better.
    """

    def __init__(self, metric: str):
        self.metric = f"eval_{metric}"

    def on_train_begin(self, args, state, control, **kwargs):
        """Point a resumed run to the best checkpoint in its output folder, which may have been moved meanwhile."""
        if state.best_global_step:
            best = checkpoint_folder(args.output_dir, state.best_global_step)
            try:
                from_first_rank(lambda: check_checkpoint(best))
            except CheckpointError as error:  # now, rather than when the run is done
                raise CheckpointError(f"{error}; it is the best one so far, so the run cannot go on") from error
            state.best_model_checkpoint = str(best)

    def on_step_end(self, args, state, control, **kwargs):
        """Evaluate before a checkpoint is written."""
        control.should_evaluate |= control.should_save

    on_epoch_end = on_step_end

    def on_evaluate(self, args, state, control, metrics: dict[str, float], **kwargs):
        """The first of equally good ones is kept; an evaluation that no checkpoint follows does not count."""
        if not control.should_save:
            return
        if state.best_metric is None or metrics[self.metric] > state.best_metric:
            state.best_metric, state.best_global_step = metrics[self.metric], state.global_step


class EpochCallback(TrainerCallback):
    """Tells the sampler the epoch, which Accelerate does not where several ranks resume in the middle of one.

    Trainer's loader of the rest of that epoch hides the sampler under one layer more than Accelerate looks through.

    Args:
        begin: called with each epoch, 0-based, before its first batch.
    """

    def __init__(self, begin: Callable[[int], None]):
        self.begin = begin

    def on_epoch_begin(self, args, state, control, train_dataloader=None, **kwargs):
        """The loader of whole epochs has the same sampler."""
        train_dataloader.set_epoch(int(state.epoch))
        self.begin(int(state.epoch))


class HistoryCallback(TrainerCallback):
    """Appends every log of a training run to `history.jsonl` in the output folder, one JSON object a line.

    Attributes:
        first_step: optimiser step at which this process took the training up; 0 for one that is not resumed.
    """

    first_step = 0

    def on_train_begin(self, args, state, control, **kwargs):
        """Start the file, or drop what a resumed run is about to repeat."""
        self.first_step = state.global_step
        if state.is_world_process_zero:
            path = self._path(args)
            rows = read_history(args.output_dir) if path.is_file() and state.global_step else []
            # Trainer sums a training up in its last row, also one that was stopped.
            kept = [row for row in rows if row["step"] <= state.global_step and "train_runtime" not in row]
            path.write_text("".join(json.dumps(row) + "\n" for row in kept))

    def on_log(self, args, state, control, logs: dict | None = None, **kwargs):
        """Write one line."""
        if state.is_world_process_zero and logs:
            with self._path(args).open("a") as file:
                file.write(json.dumps({"step": state.global_step, **logs}) + "\n")

    @staticmethod
    def _path(args) -> Path:
        path = Path(args.output_dir, HISTORY_FILE)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def read_history(folder: str | Path) -> list[dict]:
    """The rows of a run's history file; a line that was cut off while it was written is left out."""
    rows = []
    for line in Path(folder, HISTORY_FILE).read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows
