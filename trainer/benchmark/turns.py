"""The other side of the turns: it starts the contestants' processes, lets one at a time compute, and ends them."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from trainer.errors import RunError
from trainer.parsing import shown

OF_A_CONTESTANT = (sys.executable, "-m", "trainer.benchmark.process")
PATIENCE = 10.0  # seconds that a process has to end by itself


class Turn(NamedTuple):
    """One block of steps of one contestant."""

    contestant: str
    seconds: float
    waited: float  # seconds, for data
    peak_memory: int  # bytes, so far


class Contestants:
    """Processes that take turns.

    Attributes:
        facts: what each said of itself when it was ready, by name.
    """

    def __init__(self, processes: dict[str, subprocess.Popen], logs: dict[str, Path]):
        self._processes, self._logs = processes, logs
        self.facts = {name: self._receive(name) for name in processes}

    def take_turns(self, pairs: int, steps: int) -> list[Turn]:
        """Each in turn computes a block of steps, and then each again: what drifts, drifts for all.

        Args:
            pairs: blocks of each.
            steps: of a block.

        Raises:
            RunError: a contestant failed.
        """
        return [self._turn(name, steps) for _ in range(pairs) for name in self._processes]

    def _turn(self, name: str, steps: int) -> Turn:
        _send(self._processes[name], {"steps": steps})
        return Turn(name, **self._receive(name))

    def _receive(self, name: str) -> dict:
        process = self._processes[name]
        line = process.stdout.readline()
        message = json.loads(line) if line else {"error": self._how_it_ended(name)}
        if "error" in message:
            raise RunError(f"{name} failed: {message['error']}")
        return message

    def _how_it_ended(self, name: str) -> str:
        code = self._processes[name].wait()
        said = self._logs[name].read_text(errors="replace").strip().splitlines()
        reason = f"; its last words: {shown(said[-1])}" if said else ""
        memory = ", as where memory does not suffice" if code == -signal.SIGKILL else ""
        return f"its process ended with {code}{memory}{reason}"


@contextmanager
def contestants(
    messages: Mapping[str, dict], folder: Path, words: Sequence[str] = OF_A_CONTESTANT
) -> Iterator[Contestants]:
    """Context manager: contestants that are warm and wait for their turns; with the block they end, workers and all.

    Args:
        messages: what each is told, by name.
        folder: for what they print.
        words: command line of their process.

    Raises:
        RunError: one of them failed.
    """
    processes, logs = {}, {}
    patience = 0.0
    try:
        for name, message in messages.items():
            logs[name] = folder / f"{name}.log"
            with logs[name].open("w") as log:
                pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log, "text": True}
                # A session of its own: its workers end with it, and an interrupt is this process's alone.
                processes[name] = subprocess.Popen(words, start_new_session=True, **pipes)
            _send(processes[name], message)
        yield Contestants(processes, logs)
        patience = PATIENCE
    finally:
        for process in processes.values():
            with suppress(BrokenPipeError):
                process.stdin.close()  # which tells it that no turn will come
        for process in processes.values():
            _end(process, patience)


def _send(process: subprocess.Popen, message: dict) -> None:
    with suppress(BrokenPipeError):  # it has ended; why is found where its answer is awaited
        process.stdin.write(json.dumps(message) + "\n")
        process.stdin.flush()


def _end(process: subprocess.Popen, patience: float) -> None:
    """Kill a process and what it started, after the time that it has to close its output, as its end does."""
    select.select([process.stdout], [], [], patience)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # not waited for yet, so the number is still its own
    process.wait()
    process.stdout.close()
