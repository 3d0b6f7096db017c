"""Several processes beside each other on one machine, each with its share of the cores, and none left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from trainer.stopping import Terminated
from trainer.terminal import in_words

PROGRAM = [sys.executable, "-m", "trainer.commands"]
SECONDS_BETWEEN_LOOKS = 0.1


class Job(NamedTuple):
    """A process that is to run."""

    name: str  # in the lines on the terminal
    words: list[str]  # of `deit-lt`
    log: Path  # to which its output is added
    shares: str | None = None  # what jobs of the same word would wait for one another for; None: nothing


class Running(NamedTuple):
    """A process that runs."""

    job: Job
    process: subprocess.Popen
    place: int
    start: float


def run_side_by_side(jobs: Sequence[Job], at_a_time: int = 1) -> list[Job]:
    """Run processes, so many at a time, in their order; after one has failed no further one starts.

    Those that would wait for one another are started beside others where there are any. An interrupt (Ctrl-C) or
    SIGTERM is passed on as SIGTERM, so that a training saves a checkpoint; a second one kills.

    Args:
        jobs: what is to run.
        at_a_time: how many; the cores that this process may use are divided by as many. Default 1, with all cores.

    Returns:
        Those that failed, after all that had started ended.

    Raises:
        KeyboardInterrupt, Terminated: as was asked for, after all have ended.
    """
    waiting, running, failed, told = list(jobs), [], [], 0
    shares = shares_of_cores(min(at_a_time, max(1, len(waiting))))
    with stop_signals() as received, none_left_behind(running):
        while running or (waiting and not failed and not received):
            if waiting and len(running) < len(shares) and not failed and not received:
                running.append(_next(waiting, running, shares))
                continue
            time.sleep(SECONDS_BETWEEN_LOOKS)
            if len(received) > told:
                told = len(received)
                _end(running, told)
            failed += _ended(running, stopped=bool(received))
    if received:
        raise Terminated if received[0] == signal.SIGTERM else KeyboardInterrupt
    return failed


def started(job: Job, cores: list[int], place: int) -> Running:
    """Start a process on some of the cores. Ctrl-C does not reach it by itself: `run_side_by_side` passes it on."""
    job.log.parent.mkdir(parents=True, exist_ok=True)
    print(f"{job.name}: started; its output goes to {job.log}", flush=True)
    with job.log.open("a") as log, ExitStack() as inherited:
        inherited.enter_context(on_cores(cores))
        inherited.enter_context(without_interrupts())
        process = subprocess.Popen(
            [*PROGRAM, *job.words], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    return Running(job, process, place, time.monotonic())


def shares_of_cores(count: int) -> list[list[int]]:
    """The cores that this process may use, in so many shares; one core is several shares' where there are too few.

    Returns:
        Empty shares where the system cannot bind a process to cores, or one process has them all.
    """
    if count == 1 or not hasattr(os, "sched_setaffinity"):
        return [[]] * count
    cores = sorted(os.sched_getaffinity(0))
    if count > len(cores):
        return [[cores[place % len(cores)]] for place in range(count)]
    bounds = [place * len(cores) // count for place in range(count + 1)]
    return [cores[low:high] for low, high in pairwise(bounds)]


@contextmanager
def on_cores(cores: list[int]) -> Iterator[None]:
    """Context manager: processes that are started inside have these cores; all of this one's where there are none."""
    if not cores:
        yield
        return
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Context manager: SIGINT waits, and never comes to processes that are started inside."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Context manager: SIGINT and SIGTERM are put into a list, rather than raised; outside the main thread nothing."""
    received = []
    if threading.current_thread() is not threading.main_thread():  # Python allows handlers there alone
        yield received
        return
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = {kind: signal.signal(kind, lambda number, frame: received.append(number)) for kind in kinds}
    try:
        yield received
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


@contextmanager
def none_left_behind(running: list[Running]) -> Iterator[None]:
    """Context manager: where an error ends the block, what still runs is stopped first."""
    try:
        yield
    finally:
        for run in running:
            run.process.terminate()
        for run in running:
            run.process.wait()


def _next(waiting: list[Job], running: list[Running], shares: list[list[int]]) -> Running:
    """Start the first that need not wait for a running one; where all would, the first."""
    busy = {run.job.shares for run in running} - {None}
    job = next((job for job in waiting if job.shares not in busy), waiting[0])
    place = next(place for place in range(len(shares)) if place not in {run.place for run in running})
    waiting.remove(job)
    return started(job, shares[place], place)


def _ended(running: list[Running], stopped: bool) -> list[Job]:
    """Take out those that have ended, with a line for each, and give those that failed."""
    failed = []
    for run in [run for run in running if run.process.poll() is not None]:
        running.remove(run)
        how = "done" if run.process.returncode == 0 else "stopped" if stopped else "failed"
        print(f"{run.job.name}: {how} after {in_words(time.monotonic() - run.start)}", flush=True)
        failed += [run.job] if run.process.returncode else []
    return failed


def _end(running: list[Running], times: int) -> None:
    what = "stopping; each run saves a checkpoint where it trains" if times == 1 else "killing what still runs"
    print(f"{what} ({len(running)} running)", flush=True)
    for run in running:
        run.process.terminate() if times == 1 else run.process.kill()
