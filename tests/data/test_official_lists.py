"""The published data sets are known again: by the real lists and class counts, where they are at hand."""

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

from trainer.data import known_data, official_problems
from trainer.data.layouts import with_known_folders
from trainer.data.list_files import read_list
from trainer.data.official_lists import GIT_BLOBS, OFFICIAL, git_blob
from trainer.evaluation import head_mid_tail, many_medium_few

REAL = next((p / "shared/data/splits" for p in Path(__file__).parents if (p / "shared/data/splits").is_dir()), None)
COUNTS = {"ImageNet-LT": "ImageNet_LT", "iNaturalist-2018": "iNaturalist18"}
real = pytest.mark.skipif(REAL is None, reason="no local copy of the lists")


def counts_of(name):
    if name == "Places-LT":
        return np.bincount(read_list(REAL / "Places_LT_train.txt.gz").labels.to_numpy())
    return np.array(json.loads(gzip.decompress((REAL / f"{COUNTS[name]}_train_class_counts.json.gz").read_bytes())))


@real
@pytest.mark.parametrize("data", OFFICIAL, ids=lambda data: f"{data.name}, {data.train}")
def test_real_class_counts_are_those_of_the_data_set(data):
    counts = counts_of(data.name)
    assert known_data(counts, data.test_images, []).name == data.name
    assert official_problems(data, counts, data.test_images, []) == []
    other = counts.copy()
    other[[0, 1]] = other[[1, 0]]
    (problem,) = official_problems(data, other, data.test_images, [])
    assert "the training images per class are not those of" in problem
    other = counts.copy()
    other[0] += 1
    (problem,) = official_problems(data, other, data.test_images, [])
    assert f"here are {data.train_images + 1:,}" in problem


@real
@pytest.mark.parametrize("name", sorted(path.name for path in REAL.glob("*.txt.gz")) if REAL else [])
def test_real_lists_are_read_and_are_the_published_ones(name):
    found = read_list(REAL / name)
    lines = [line.rsplit(" ", 1) for line in gzip.decompress((REAL / name).read_bytes()).decode().splitlines()]
    assert found.paths.to_pylist() == [path for path, _ in lines]
    assert found.labels.to_pylist() == [int(label) for _, label in lines]
    assert git_blob(REAL / name) in GIT_BLOBS[name.replace("_v2", "").removesuffix(".gz")]


@real
def test_the_second_version_of_places_is_the_first():
    folders = [path.split("/")[1] for path in read_list(REAL / "Places_LT_train.txt.gz").paths.to_pylist()]
    first = {split: read_list(REAL / f"Places_LT_{split}.txt.gz") for split in ("train", "val", "test")}
    names = [folders[first["train"].labels.index(label).as_py()] for label in range(365)]
    for split, listed in first.items():
        second = read_list(REAL / f"Places_LT_v2_{split}.txt.gz")
        assert with_known_folders(second.paths, second.labels, names).equals(listed.paths)
        assert pc.all(pc.equal(second.labels, listed.labels)).as_py()


@real
def test_groups_of_imagenet_lt_by_both_rules():
    counts = counts_of("ImageNet-LT")
    for boundaries in ([390, 835], "imagenet_lt"):
        assert [len(group) for group in head_mid_tail(counts, boundaries).values()] == [390, 445, 165]
    assert [len(group) for group in many_medium_few(counts).values()] == [385, 479, 136]


def test_a_data_set_is_known_by_its_lists_or_by_its_size():
    assert known_data(np.array([2, 1]), 3, []) is None
    assert known_data(np.array([2, 1]), 3, [Path("a/Places_LT_train.txt.gz")]).name == "Places-LT"
    counts = np.full(365, 171)
    counts[0] += 62_500 - 365 * 171
    assert known_data(counts, 36_500, []).name == "Places-LT"
    assert known_data(counts, 36_499, []) is None


def test_the_id_of_a_list_is_gits(tmp_path):
    """`printf 'a 0\\n' | git hash-object --stdin`"""
    (tmp_path / "a.txt").write_bytes(b"a 0\n")
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"a 0\n"))
    assert git_blob(tmp_path / "a.txt") == git_blob(tmp_path / "a.txt.gz") == BLOB


BLOB = "2196c0c725e790c69eff5f5ea1f7d4922e839064"
