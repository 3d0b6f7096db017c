"""A contestant's side of the turns: it waits for its turn, trains a block of steps and says how long they took."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import torch


class Ended(Exception):
    """No further turn will come."""


class Channel:
    """Messages to and from the process that gives the turns: a line of JSON each.

    Args:
        incoming, outgoing: text files.
    """

    def __init__(self, incoming: TextIO, outgoing: TextIO):
        self.incoming, self.outgoing = incoming, outgoing

    @classmethod
    def of_this_process(cls) -> Channel:
        """Standard input and output; what libraries print goes to standard error from now on."""
        outgoing = os.fdopen(os.dup(sys.stdout.fileno()), "w")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        return cls(sys.stdin, outgoing)

    def send(self, message: dict) -> None:
        """Raises `Ended` where nobody listens any more."""
        try:
            self.outgoing.write(json.dumps(message) + "\n")
            self.outgoing.flush()
        except BrokenPipeError as error:
            raise Ended from error

    def receive(self) -> dict:
        """Wait, without work, for a message; `Ended` where none will come."""
        line = self.incoming.readline()
        if not line:
            raise Ended
        return json.loads(line)


class Stopwatch:
    """Measures blocks of steps of a training, which calls `step_done` after each step and takes batches by `timed`.

    On a GPU a block is measured by events, and waited for at its end alone.

    Args:
        channel: to the process that gives the turns.
        device: that computes.
        warm_up: steps before the first turn, compilation among them.
        settle: steps of a block before it is measured: as many as workers have batches ready at its begin, which would
            otherwise come for nothing.
        facts: what the process says of itself when it is ready.
    """

    def __init__(
        self, channel: Channel, device: torch.device, warm_up: int, settle: int = 0, facts: dict | None = None
    ):
        self.channel, self.device, self.settle = channel, device, settle
        self.facts = facts or {}
        self.waited = 0.0
        self._parts = self._turns(warm_up)
        self._left = next(self._parts)

    def step_done(self) -> None:
        """Count an optimiser step; where it ends a block, answer, and wait for the next turn.

        Raises:
            Ended: there is none.
        """
        self._left -= 1
        if not self._left:
            self._left = next(self._parts)

    def timed(self, batches: Iterator) -> Iterator:
        """The same batches; the time until each is there counts as waiting."""
        while True:
            start = time.perf_counter()
            try:
                batch = next(batches)
            except StopIteration:
                return
            finally:
                self.waited += time.perf_counter() - start
            yield batch

    def _turns(self, warm_up: int) -> Iterator[int]:
        """Yields how many steps come next."""
        start = time.perf_counter()
        yield warm_up
        self._wait_for_device()
        self.channel.send({"warm_up_seconds": time.perf_counter() - start, **self.facts})
        while True:
            steps = self.channel.receive()["steps"]
            if self.settle:
                yield self.settle
            self.waited, begin = 0.0, self._now()
            yield steps
            seconds, waited = self._seconds_since(begin), self.waited
            self.channel.send({"seconds": seconds, "waited": waited, "peak_memory": peak_memory(self.device)})

    def _wait_for_device(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _now(self) -> float | torch.cuda.Event:
        if self.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _seconds_since(self, begin: float | torch.cuda.Event) -> float:
        end = self._now()
        if self.device.type != "cuda":
            return end - begin
        end.synchronize()
        return begin.elapsed_time(end) / 1000


def peak_memory(device: torch.device) -> int:
    """Bytes at most so far: of tensors on a GPU, else of this process with its libraries."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would count what the parent had in memory when it started this process
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return 1024 * int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS, in bytes
