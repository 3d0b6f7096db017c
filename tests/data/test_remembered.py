"""All images that cannot be decoded are listed, and images that were checked are not checked again."""

import csv
import os

import pytest
from datasets import DatasetDict, load_from_disk
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
    states = [fingerprint(part).state for part in (rows, rows, rows.select([1, 0]), rows.select([0, 1]))]
    assert states[0] == states[1]
    assert len(set(states)) == 3
    for expected in (16, 0):
        check_all_images({"train": rows}, states={"train": states[0]})
        assert decoded() == expected


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
