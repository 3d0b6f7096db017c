"""Text for people: durations, and paragraphs in the width of the terminal."""

from __future__ import annotations

import os
import sys
import textwrap

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
