"""A data set as parquet files: equal rows, whole or not there at all."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, load_dataset
from helpers import image_tree, picture_dataset
from stand_ins import inaturalist_2018

from trainer.data import load_long_tailed, load_splits, parquet
from trainer.data.parquet import write_parquet
from trainer.errors import DataError


def assert_equal(found, expected):
    assert list(found) == list(expected)
    for split, dataset in expected.items():
        assert found[split].features == dataset.features
        assert found[split][:]["label"] == dataset[:]["label"]
        for one, other in zip(found[split], dataset, strict=True):
            assert np.array_equal(np.asarray(one["image"]), np.asarray(other["image"]))


@pytest.mark.parametrize("shard_bytes", [10**9, 1500, 1])
def test_rows_labels_and_names_stay(tmp_path, shard_bytes):
    root, out = inaturalist_2018(tmp_path / "images", annotations=True), tmp_path / "out"
    splits = load_splits(str(root))
    files = write_parquet(splits, out, root, shard_bytes)
    assert files == len(list(out.iterdir())) == {10**9: 2, 1500: files, 1: 26 + 9}[shard_bytes]
    assert_equal(load_splits(str(out)), splits)
    assert_equal(load_dataset(str(out)), splits)
    assert not (tmp_path / "out.unfinished").exists()


def test_shards_are_of_about_one_size(tmp_path):
    rows = picture_dataset((400, 200, 100))
    files = write_parquet(DatasetDict(train=rows), tmp_path / "out", tmp_path, 20_000)
    sizes = [path.stat().st_size for path in sorted((tmp_path / "out").iterdir())]
    assert files == len(sizes) > 5
    assert max(sizes) < 1.3 * min(sizes)


def test_images_are_the_bytes_of_their_files_under_their_paths(tmp_path):
    root = image_tree(tmp_path / "images")
    write_parquet(load_splits(str(root)), tmp_path / "out", root)
    table = pq.read_table(tmp_path / "out" / "train-00000-of-00001.parquet")
    for image in table["image"].to_pylist():
        assert image["bytes"] == (root / image["path"]).read_bytes()


def test_cutting_the_written_data_cuts_the_same_rows(tmp_path):
    image_tree(tmp_path / "images", counts=(40, 30, 20), test=0)
    root = tmp_path / "images" / "train"
    write_parquet(load_splits(str(root)), tmp_path / "out", root)
    cut = {"rho": 4, "test_fraction": 0.2, "seed": 3}
    assert_equal(load_long_tailed(str(tmp_path / "out"), **cut), load_long_tailed(str(root), **cut))


def test_what_is_in_the_way(tmp_path, monkeypatch):
    rows = DatasetDict(train=picture_dataset())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_text("mine")
    with pytest.raises(DataError, match="out is not an empty folder"):
        write_parquet(rows, tmp_path / "out", tmp_path)
    assert (tmp_path / "out" / "a").read_text() == "mine"
    (tmp_path / "out" / "a").unlink()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parquet, "_with_bytes", full)
    with pytest.raises(OSError, match="No space"):
        write_parquet(rows, tmp_path / "out", tmp_path)
    assert list((tmp_path / "out").iterdir()) == []  # nothing that looks complete
    with pytest.raises(DataError, match=r"out.unfinished is left of a conversion that was cut off; remove it"):
        write_parquet(rows, tmp_path / "out", tmp_path)


def test_a_file_that_is_gone(tmp_path):
    root = image_tree(tmp_path / "images")
    splits = load_splits(str(root))
    (root / "train" / "level0" / "1.png").unlink()
    with pytest.raises(DataError, match=r"train, row 1: \S*1.png cannot be read .*; `deit-lt check-data` lists all"):
        write_parquet(splits, tmp_path / "out", root)
    assert not (tmp_path / "out").exists()


def row_groups(out):
    """Rows of each row group of each file, after they were read."""
    files = [pq.ParquetFile(path) for path in sorted(out.iterdir())]
    return [len(file.read_row_group(i)) for file in files for i in range(file.num_row_groups)]


def test_memory_does_not_grow_with_the_rows(tmp_path, monkeypatch):
    """Never more than ROWS images at once."""
    monkeypatch.setattr(parquet, "ROWS", 5)
    write_parquet(DatasetDict(train=picture_dataset()), tmp_path / "out", tmp_path)
    assert row_groups(tmp_path / "out") == [5, 5, 5, 1]


def test_nor_with_the_size_of_the_images(tmp_path, monkeypatch):
    """Never more than BATCH_BYTES at once, unless one image alone has more; files are cut as without."""
    monkeypatch.setattr(parquet, "BATCH_BYTES", 100)
    sizes = [40, 60, 1, 100, 150, 30, 30, 30, 30]
    features = Features({"image": Image(), "label": ClassLabel(names=["a"])})
    images = [{"bytes": bytes(size), "path": None} for size in sizes]
    rows = Dataset.from_dict({"image": images, "label": [0] * len(sizes)}, features)
    assert write_parquet(DatasetDict(train=rows), tmp_path / "out", tmp_path) == 1
    assert row_groups(tmp_path / "out") == [2, 1, 1, 1, 3, 1]
    (file,) = (tmp_path / "out").iterdir()
    assert [len(image["bytes"]) for image in pq.read_table(file)["image"].to_pylist()] == sizes
