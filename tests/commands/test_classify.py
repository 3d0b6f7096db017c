"""One image through a model folder, and folders that are none."""

import pytest

from trainer.commands import classify
from trainer.errors import CheckpointError, DataError


def test_classify_prints_the_classes(finished, capsys):
    classify.main([str(finished[0] / "out"), str(finished[0] / "out" / "example.png")])
    printed = capsys.readouterr().out
    assert {line.split()[-1] for line in printed.splitlines()} == {"level0", "level1", "level2"}


def test_classify_says_what_is_missing(finished, tmp_path):
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        classify.main([str(tmp_path), "any.png"])
    with pytest.raises(DataError, match=r"there is no image .*nowhere\.png"):
        classify.main([str(finished[0] / "out"), str(tmp_path / "nowhere.png")])
