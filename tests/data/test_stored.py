"""Folders that `datasets` reads: images with metadata.csv, WebDataset's tars."""

import io
import json
import tarfile

import pytest
from PIL import Image

from trainer.data import load_long_tailed
from trainer.errors import DataError


def picture(value, kind):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (value, value, value)).save(buffer, kind, **({"quality": 100} if kind == "JPEG" else {}))
    return buffer.getvalue()


def shards(root, members):
    """Two training shards and one for the test, of five images each; `members(i)`: ending and content of image i."""
    root.mkdir()
    for number, split in enumerate(["train-0000", "train-0001", "test-0000"]):
        with tarfile.open(root / f"{split}.tar", "w") as archive:
            for i in range(5 * number, 5 * number + 5):
                for ending, content in members(i).items():
                    entry = tarfile.TarInfo(f"{i:05}.{ending}")
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))
    return str(root)


@pytest.mark.parametrize(("ending", "kind"), [("jpg", "JPEG"), ("png", "PNG")])
def test_shards_with_class_numbers(tmp_path, ending, kind):
    root = shards(tmp_path / "a", lambda i: {ending: picture(10 * i, kind), "cls": b"%d" % (i % 3)})
    splits = load_long_tailed(root)
    assert splits["train"][:]["label"] == [i % 3 for i in range(10)]
    assert splits["test"].features["label"].names == ["0", "1", "2"]
    assert [row["image"].getpixel((0, 0))[0] for row in splits["test"]] == [10 * i for i in range(10, 15)]


def test_shards_with_json(tmp_path):
    names = ["owl", "eel", "fox"]
    root = shards(
        tmp_path / "a",
        lambda i: {"png": picture(i, "PNG"), "json": json.dumps({"class": names[i % 3], "id": i}).encode()},
    )
    with pytest.raises(DataError, match=r"no label column; columns present: .*json.*--label_column"):
        load_long_tailed(root)
    splits = load_long_tailed(root, label_column="json.class")
    assert splits["train"].features["label"].names == ["eel", "fox", "owl"]
    assert splits["test"][:]["label"] == [[2, 0, 1][i % 3] for i in range(10, 15)]


def test_shards_with_class_names(tmp_path):
    root = shards(tmp_path / "a", lambda i: {"png": picture(i, "PNG"), "label.txt": b"ab"[i % 2 : i % 2 + 1]})
    assert load_long_tailed(root, label_column="label.txt")["train"].features["label"].names == ["a", "b"]


def test_images_with_a_list_in_their_folder(tmp_path):
    for i in range(8):
        (tmp_path / f"{i}.png").write_bytes(picture(20 * i, "PNG"))
    rows = "".join(f"{i}.png,{'no' if i % 4 else 'yes'}\n" for i in range(8))
    (tmp_path / "metadata.csv").write_text(f"file_name,label\n{rows}")
    splits = load_long_tailed(str(tmp_path), test_fraction=0.5)
    assert splits["train"].features["label"].names == ["no", "yes"]
    for dataset, count in ((splits["train"], 4), (splits["test"], 4)):
        seen = [(row["image"].getpixel((0, 0))[0], row["label"]) for row in dataset]
        assert len(seen) == count
        assert all(label == (value % 80 == 0) for value, label in seen)
