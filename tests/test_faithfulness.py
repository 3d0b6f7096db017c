"""The script behind docs/faithfulness.md: every figure that needs neither data nor minutes is the sources'."""

import json
import sys

import faithfulness
import numpy as np
import pytest


def test_figures_are_the_sources(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(faithfulness, "views", lambda: [])  # test_sampler.py compares the batches themselves
    monkeypatch.setattr(sys, "argv", ["faithfulness.py", "--results", str(tmp_path / "out.json")])
    with pytest.raises(SystemExit) as end:
        faithfulness.main()
    assert end.value.code == 0, capsys.readouterr().out
    figures = json.loads((tmp_path / "out.json").read_text())["figures"]
    assert len(figures) >= 30
    assert all(figure["equal"] and figure["origin"] for figure in figures)


def test_a_figure_that_is_off_ends_with_1(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(faithfulness, "views", lambda: [faithfulness.Figure("pi", 3.14159, "a circle", 22 / 7, 1e-3)])
    for name in ("steps", "weights", "initialisation", "grey"):
        monkeypatch.setattr(faithfulness, name, lambda: [])
    monkeypatch.setattr(sys, "argv", ["faithfulness.py", "--results", str(tmp_path / "out.json")])
    with pytest.raises(SystemExit) as end:
        faithfulness.main()
    assert end.value.code == 1
    assert "| pi | 3.1416 | 3.1429 | **no** | a circle |" in capsys.readouterr().out


def test_the_rarest_share_on_three_labels():
    """Weights 0.5, 1 and 1.5: labels 0, 2, 2 carry 3.5, of which the last class has 3; times three classes."""
    share = faithfulness.rarest_share(np.array([[0, 2, 2], [0, 0, 1]]), np.array([0.5, 1.0, 1.5]))
    assert share.tolist() == pytest.approx([3 * 3 / 3.5, 0])
