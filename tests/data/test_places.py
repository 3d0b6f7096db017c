"""Where files lead, and the fingerprint of those that are there."""

import os
from contextlib import nullcontext

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image
from helpers import image_tree

from trainer.arguments import DataArguments
from trainer.data import fingerprint, load_long_tailed
from trainer.data.places import image_paths, refuse_outside, refuse_rows_outside
from trainer.errors import DataError
from trainer.run.data import RunData


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("data/a.png", True),
        ("data/sub/../a.png", True),
        ("data", True),
        ("data/../data/a.png", True),
        ("data2/a.png", False),
        ("data/../a.png", False),
        ("a.png", False),
        ("data/out/a.png", False),
        ("data/in/a.png", True),
        ("/etc/hostname", False),
        ("file:///data/a.png", False),
        ("zip://a.png::data/a.zip", False),
        ("data/a\0.png", False),
        ("data/a::b.png", True),
        ("data/http://x/a.png", True),
    ],
)
def test_a_path_leads_inside_or_is_refused(tmp_path, monkeypatch, path, inside):
    monkeypatch.chdir(tmp_path)
    for name in ("data/sub", "other"):
        os.makedirs(name)
    os.symlink("../other", "data/out")
    os.symlink("sub", "data/in")
    with nullcontext() if inside else pytest.raises(DataError, match=r"^row 3"):
        refuse_outside(path, [os.path.realpath("data")], "row 3")


def rows(images):
    features = Features({"image": Image(), "label": ClassLabel(names=["a"])})
    return Dataset.from_dict({"image": images, "label": [0] * len(images)}, features)


def test_only_rows_without_bytes_are_paths():
    values = [{"bytes": b"x", "path": "/etc/a"}, None, {"bytes": None, "path": "b"}, {"bytes": b"", "path": None}]
    assert list(image_paths(rows(values))) == [(2, "b")]
    assert list(image_paths(rows(values).select([2, 0, 2]))) == [(0, "b"), (2, "b")]
    refuse_rows_outside(DatasetDict(train=rows(values).select([0, 1, 3])), ["/nowhere"])


def digest(dataset, **settings):
    settings = DataArguments(dataset=str(dataset), **settings)
    return RunData(load_long_tailed(settings.dataset), settings).digest


def test_the_digest_is_of_the_files_and_not_of_the_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image_tree(tmp_path / "images")
    (tmp_path / "link").symlink_to("images")
    (known,) = {
        digest(path)
        for path in (
            "images",
            "./images",
            "images/",
            tmp_path / "images",
            "../../" + os.path.join(*tmp_path.parts[-2:], "images"),
            "link",
        )
    }
    changes = {"train": "images/train/level0/3.png", "test": "images/test/level2/7.png"}
    for name in changes.values():
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content + b"\0")
        assert digest("images") != known
        (tmp_path / name).write_bytes(content)
        assert digest("images") == known
    (tmp_path / changes["train"]).rename(tmp_path / "images/train/level0/3b.png")
    assert digest("images") != known


def test_the_digest_of_rows_is_of_their_sizes_in_their_order():
    first, second = ({"bytes": bytes(size), "path": None} for size in (3, 4))
    known = fingerprint(rows([first, second])).images
    assert known != fingerprint(rows([second, first])).images
    assert known == fingerprint(rows([second, first]).select([1, 0])).images
    assert known != fingerprint(rows([first, None])).images


def test_a_file_that_is_gone_is_one_line(tmp_path):
    with pytest.raises(DataError, match=r"gone\.png cannot be read \(No such file"):
        fingerprint(rows([str(tmp_path / "gone.png")]), tmp_path)
