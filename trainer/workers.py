"""Workers of loaders: signals are their run's, their parent's memory stays shared, and they end with their process."""

from __future__ import annotations

import atexit
import gc
import os
import signal
from collections.abc import Callable
from functools import partial
from weakref import WeakKeyDictionary

from torch.utils.data import DataLoader

_loaders: WeakKeyDictionary[DataLoader, int] = WeakKeyDictionary()  # with the process that made them


def prepare_workers(loader: DataLoader) -> None:
    """Have workers ignore SIGTERM, since a signal to all processes of a job must not end them while their run saves.

    Args:
        loader: with persistent workers, or none, which has not started them.
    """
    loader.worker_init_fn = partial(_start, loader.worker_init_fn)
    _loaders[loader] = os.getpid()


def _start(then: Callable[[int], None] | None, index: int) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    gc.freeze()  # a collection would write into all objects that the worker shares with its parent, and so copy them
    if then is not None:
        then(index)


def end_workers(loader: DataLoader) -> None:
    """End a loader's workers now: left to the garbage collector, each delays the next training by 5 s."""
    iterator = getattr(loader, "_iterator", None)
    if iterator is not None:
        iterator._shutdown_workers()
        loader._iterator = None


@atexit.register
def _end_all() -> None:
    """multiprocessing would ask those that are left by SIGTERM, as after an error that keeps the loader, and wait."""
    for loader, process in list(_loaders.items()):
        if process == os.getpid():  # not in a process that was forked from it
            end_workers(loader)
