"""SIGTERM, which schedulers send before they kill a job: a training saves a checkpoint and stops."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Self

import torch
import torch.distributed as dist
from transformers import TrainerCallback


class Terminated(KeyboardInterrupt):
    """SIGTERM came. It ends a command as an interrupt does."""


@contextmanager
def raise_terminated() -> Iterator[None]:
    """Context manager: SIGTERM raises `Terminated`, so that a run ends in order; outside the main thread nothing."""

    def end(number, frame):
        raise Terminated

    with _handler(end):
        yield


@contextmanager
def _handler(function) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # Python allows handlers there alone
        yield
        return
    before = signal.signal(signal.SIGTERM, function)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class StopAtSignal(TrainerCallback):
    """Saves a checkpoint after the step during which SIGTERM came to any rank, and ends the training.

    It has to be the last callback. The checkpoint is no candidate of `model_selection` and nothing is logged for it,
    so a run that goes on from it ends as if it had not stopped. Ranks agree one step later, on their hosts and without
    waiting for a device. Use it as a context manager around the training.

    Attributes:
        received: whether SIGTERM came to this process.
        stopped: whether the training was ended for it, or it came while the training ended.
    """

    def __init__(self):
        self.received = self.stopped = False
        self._group = self._vote = None

    def __enter__(self) -> Self:
        self._context = _handler(self._notice)
        self._context.__enter__()
        return self

    def __exit__(self, *error) -> None:
        self._context.__exit__(*error)

    def _notice(self, number, frame) -> None:
        self.received = True

    def on_train_begin(self, args, state, control, **kwargs):
        """Make the ranks' own channel."""
        if args.world_size > 1:
            self._group = dist.new_group(backend="gloo", timeout=timedelta(seconds=args.ddp_timeout))

    def on_step_end(self, args, state, control, **kwargs):
        """Look whether it is time to stop."""
        if self._agreed():
            self.stopped = control.should_save = control.should_training_stop = True

    def on_epoch_end(self, args, state, control, **kwargs):
        """Trainer ends the epoch where it stops, which may be before the run ends it."""
        if self.stopped and not math.isclose(state.epoch, round(state.epoch), abs_tol=1e-6):
            control.should_log = control.should_evaluate = control.should_save = False

    def on_train_end(self, args, state, control, **kwargs):
        """Close the channel. A signal that came after the last step, such as in its evaluation, counts too."""
        votes = torch.tensor([int(self.received)])
        if self._group is not None:
            if self._vote is not None:
                self._vote[0].wait()
            dist.all_reduce(votes, dist.ReduceOp.MAX, self._group)
            dist.destroy_process_group(self._group)
            self._group = self._vote = None
        self.stopped |= bool(votes)

    def _agreed(self) -> bool:
        """Whether a rank had the signal at the step before, or this process, where it is alone, has it now."""
        if self._group is None:
            return self.received
        before, votes = self._vote, torch.tensor([int(self.received)])
        self._vote = dist.all_reduce(votes, dist.ReduceOp.MAX, self._group, async_op=True), votes
        if before is None:
            return False
        before[0].wait()
        return bool(before[1])
