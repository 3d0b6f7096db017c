"""A bar while images are counted: in a terminal, on the first rank, if it is asked for."""

import io
import sys

import pytest

from trainer.terminal import counting


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(monkeypatch, show=True, rank=None, kind=Terminal, total=400):
    monkeypatch.setattr(sys, "stderr", kind())
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    with counting("checking images", total, show) as count:
        count(256)
        count(144)
    return sys.stderr.getvalue()


def test_a_bar_with_speed_and_time_left(monkeypatch):
    text = shown(monkeypatch)
    assert "checking images 0/400" in text
    assert "images/s" in text
    assert " left" in text


@pytest.mark.parametrize(
    "case", [{"show": False}, {"rank": "1"}, {"kind": io.StringIO}, {"total": 0}], ids=lambda case: str(case)
)
def test_nothing_where_nobody_looks(monkeypatch, case):
    assert shown(monkeypatch, **case) == ""


def test_the_bar_is_shown_on_the_first_rank(monkeypatch):
    assert "checking images" in shown(monkeypatch, rank="0")
