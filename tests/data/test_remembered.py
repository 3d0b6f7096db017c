"""All images that cannot be decoded are listed, and images that were checked are not checked again."""

import csv
import os

import pytest
from datasets import DatasetDict, Value, load_from_disk
from helpers import image_tree, picture_dataset
from PIL import Image

from trainer.data import check_all_images, fingerprint, load_long_tailed
from trainer.data import image_checks as checks
from trainer.data.image_checks import Seen
from trainer.data.remembered import recall, remember, remembered_in
from trainer.errors import DataError


@pytest.fixture
def decoded(monkeypatch, tmp_path):
    """How many images were decoded since it was asked last; nothing is remembered from other tests."""
    monkeypatch.setattr("datasets.config.HF_CACHE_HOME", str(tmp_path / "cache"))
    seen, look = [], checks._Checked._seen_of
    monkeypatch.setattr(checks._Checked, "_seen_of", lambda self, value: seen.append(1) or look(self, value))

    def count():
        number = len(seen)
        seen.clear()
        return number

    return count


def check(folder, file=None):
    splits = load_long_tailed(str(folder))
    states = {split: fingerprint(dataset, folder).state for split, dataset in splits.items()}
    check_all_images(splits, states=states, file=file)


def test_images_are_decoded_once(decoded, tmp_path, monkeypatch):
    folder = image_tree(tmp_path / "images")
    check(folder)
    assert decoded() == 26 + 9
    check(folder)
    assert decoded() == 0
    check(tmp_path / "images" / ".." / "images")
    assert decoded() == 0
    monkeypatch.setattr(checks, "VERSION", checks.VERSION + 1)
    check(folder)
    assert decoded() == 26 + 9
    monkeypatch.setattr("PIL.__version__", "99")
    check(folder)
    assert decoded() == 26 + 9


def test_a_changed_file_is_decoded_again_with_its_split(decoded, tmp_path):
    folder = image_tree(tmp_path / "images")
    check(folder)
    decoded()
    image = folder / "train" / "level1" / "13.png"
    content = image.read_bytes()
    broken = content[:40] + bytes(len(content) - 40)  # of the same size
    image.write_bytes(broken)
    with pytest.raises(DataError, match=r"train, row 13 \(\S*13\.png\)"):
        check(folder)
    assert decoded() == 26
    with pytest.raises(DataError, match=r"train, row 13"):  # what is wrong is not remembered
        check(folder)
    assert decoded() == 26
    image.write_bytes(content)
    check(folder)
    assert decoded() == 26
    os.utime(image, ns=(1, 1))
    check(folder)
    assert decoded() == 26


def test_what_was_seen_is_remembered_with_it(decoded, tmp_path, caplog):
    """A warning that needs the pixels of all images comes each time."""
    folder = image_tree(tmp_path / "images")
    for path in folder.rglob("*.png"):
        Image.new("RGB", (8, 8), (9, 9, 9)).save(path)
    for images in (26 + 9, 0):
        caplog.clear()
        check(folder)
        assert decoded() == images
        assert "no image has a value above 9 of 255" in caplog.text


def test_rows_of_stored_tables(decoded, tmp_path):
    DatasetDict(train=picture_dataset()).save_to_disk(tmp_path / "stored")
    rows = load_from_disk(tmp_path / "stored")["train"]
    again = load_from_disk(tmp_path / "stored")["train"]
    parts = [[1, 0], [0, 1], range(4), range(4, 8), range(8, 12), [4, 6, 5, 7]]
    states = [fingerprint(part).state for part in (rows, *(rows.select(part) for part in parts))]
    assert len(set(states)) == 1 + len(parts)
    assert states == [fingerprint(part).state for part in (again, *(again.select(part) for part in parts))]
    for expected in (16, 0):
        check_all_images({"train": rows}, states={"train": states[0]})
        assert decoded() == expected


def test_tables_that_are_read_and_cut_again_are_known(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    rows = picture_dataset((40, 20)).cast_column("label", Value("int64"))
    (tmp_path / "stored").mkdir()
    rows.to_parquet(tmp_path / "stored" / "train-00000-of-00001.parquet")

    def states(**cut):
        splits = load_long_tailed(str(tmp_path / "stored"), test_fraction=0.2, **cut)
        return [fingerprint(dataset, tmp_path / "stored").state for dataset in splits.values()]

    assert states(rho=4) == states(rho=4)
    assert None not in states(rho=4)
    assert not set(states(rho=4)) & set(states(rho=4, seed=1))


def test_folders_of_equal_names_sizes_and_times_are_two(tmp_path, monkeypatch):
    """As of two archives that set the times of their files, or of one folder that is put in another's place."""
    folders = [image_tree(tmp_path / name) for name in ("one", "other")]
    for path in (path for folder in folders for path in folder.rglob("*.png")):
        path.write_bytes(path.read_bytes().ljust(2000, b"\0"))
        os.utime(path, ns=(1, 1))
    known = [known_of(folder) for folder in folders]
    assert known[0].images == known[1].images
    assert known[0].state != known[1].state
    for path, name in zip(folders, ("spare", "one"), strict=True):
        path.rename(tmp_path / name)
    assert known_of(tmp_path / "one").images == known[0].images
    assert known_of(tmp_path / "one").state != known[0].state
    (tmp_path / "link").symlink_to("one")
    assert known_of(tmp_path / "link") == known_of(tmp_path / "one")
    monkeypatch.setattr("os.stat", without_change_time(os.stat))  # then folders differ by their places alone
    assert known_of(tmp_path / "one").state != known_of(tmp_path / "spare").state


def known_of(folder):
    return fingerprint(load_long_tailed(str(folder))["train"], folder)


def without_change_time(stat):
    def found(*args, **kwargs):
        result = stat(*args, **kwargs)
        return os.stat_result(result[:10], {"st_mtime_ns": result.st_mtime_ns, "st_ctime_ns": 0})

    return found


def test_rows_in_memory_are_checked_each_time(decoded):
    rows = picture_dataset()
    assert fingerprint(rows).state is None
    for _ in range(2):
        check_all_images({"train": rows}, states={"train": None})
        assert decoded() == 16


def test_a_cache_that_cannot_be_written_is_a_warning(decoded, tmp_path, caplog):
    (tmp_path / "cache").write_text("a file")
    check(image_tree(tmp_path / "images"))
    assert "so the images will be checked again; set HF_HOME" in caplog.text


def test_results_of_other_fields_are_not_taken(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_CACHE_HOME", str(tmp_path))
    remember("a", Seen(3, None))
    assert recall("a", Seen) == Seen(3, None)
    assert recall("b", Seen) is None
    for content in ("", "[]", '{"largest_of_16_bits": 3}', '{"largest_of_16_bits": 3, "more": 1}'):
        (remembered_in() / "a.json").write_text(content)
        assert recall("a", Seen) is None


@pytest.mark.parametrize("workers", [1, 2])
def test_all_broken_images_of_all_splits_are_listed(tmp_path, workers):
    folder = image_tree(tmp_path / "images", counts=(300, 8, 6))
    broken = [("train", 0, "level0/0.png"), ("train", 299, "level0/99.png"), ("test", 8, "level2/8.png")]
    for split, _, name in broken:
        (folder / split / name).write_bytes(b"junk")
    file = tmp_path / "new" / "list.tsv"
    expected = rf"^train, row 0 \(\S*0\.png\): .* remove the row \(3 such images, listed in {file}\)$"
    with pytest.raises(DataError, match=expected):
        check_all_images(load_long_tailed(str(folder)), workers, file=file)
    (head, *rows) = csv.reader(file.open(newline=""), "excel-tab")
    assert head == ["split", "row", "path", "reason"]
    assert [(split, int(row), path) for split, row, path, _ in rows] == [
        (split, row, str(folder / split / name)) for split, row, name in broken
    ]
    with pytest.raises(DataError, match=r"\(3 such images\)$"):
        check_all_images(load_long_tailed(str(folder)), workers)


def test_missing_files_are_listed_like_broken_ones(tmp_path):
    folder = image_tree(tmp_path / "images")
    splits = load_long_tailed(str(folder))
    for name in ("level0/1.png", "level1/13.png"):
        (folder / "train" / name).unlink()
    with pytest.raises(DataError, match=r"1\.png\): the image file does not exist; .* \(2 such images\)"):
        check_all_images(splits)
