"""Text for people: durations, paragraphs in the width of the terminal, a bar while images are counted."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

UNLIMITED = 10_000


def in_words(seconds: float) -> str:
    """A duration as people say it: "40 s", "12 min", "3 h 20 min", "31 h", "12 days"."""
    minutes = seconds / 60
    if seconds < 100:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes:.0f} min"
    if minutes < 10 * 60:
        return f"{int(minutes // 60)} h {int(minutes % 60)} min"
    return f"{minutes / 60:.0f} h" if minutes < 72 * 60 else f"{minutes / 60 / 24:.0f} days"


def columns() -> int:
    """Width of the terminal; without one no line ends before its text."""
    if not sys.stdout.isatty():
        return UNLIMITED
    return os.get_terminal_size(sys.stdout.fileno()).columns or 80


def wrapped(text: str, indent: int = 0) -> str:
    """A paragraph in the width of the terminal, later lines indented."""
    return textwrap.fill(text, columns() - 1, subsequent_indent=" " * indent, break_on_hyphens=False)


@contextmanager
def counting(what: str, total: int, show: bool = True) -> Iterator[Callable[[int], object]]:
    """Context manager: a bar with images a second and the time left; nothing on later ranks or without a terminal.

    Args:
        what: is being done.
        total: number of images.
        show: whether to show it at all. Default True.

    Yields:
        A function that takes the number of images that were done since its last call.
    """
    shown = show and total > 0 and sys.stderr.isatty() and os.environ.get("RANK", "0") == "0"
    form = "{desc} {n_fmt}/{total_fmt} {bar} {rate_fmt}, {remaining} left"
    options = {"unit": " images", "bar_format": form, "leave": False, "dynamic_ncols": True, "file": sys.stderr}
    with tqdm(total=total, desc=what, disable=not shown, **options) as bar:
        yield bar.update
