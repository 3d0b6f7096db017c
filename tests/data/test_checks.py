import io

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value
from PIL import Image as PILImage

from trainer.data import check_dataset, check_images, check_labels, load_digits_dataset
from trainer.errors import DataError

NAMES = ["ant", "bee", "cat"]


def picture(seed, kind="PNG"):
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    PILImage.fromarray(pixels).save(buffer, format=kind)
    return buffer.getvalue()


def images(values, labels=None, names=NAMES):
    labels = [i % 3 for i in range(len(values))] if labels is None else labels
    features = Features({"image": Image(), "label": ClassLabel(names=names)})
    return Dataset.from_dict({"image": values, "label": labels}, features=features)


def in_memory(contents):
    return [{"bytes": content, "path": None} for content in contents]


def integers(labels):
    return Dataset.from_dict({"label": labels}, features=Features({"label": Value("int64")}))


def test_good_images_pass():
    check_images(images(in_memory([picture(i, kind) for i, kind in enumerate(["PNG", "JPEG", "WEBP"] * 100)])))


BROKEN = {
    "text": (b"this is no image", "not an image"),
    "empty": (b"", "not an image"),
    "truncated png": (picture(1)[:300], "cannot be decoded"),
    "truncated jpeg": (picture(1, "JPEG")[:-80], "truncated"),
    "header only": (picture(1)[:40], "not an image|cannot be decoded"),
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("row", [0, 299])  # 299 lies in the second batch of rows
def test_broken_bytes_are_named_by_row(kind, row):
    contents = [picture(0)] * 300
    contents[row], message = BROKEN[kind]
    with pytest.raises(DataError, match=rf"^test, row {row}: .*{message}") as caught:
        check_images(images(in_memory(contents)), split="test")
    assert "\n" not in str(caught.value)


def test_files_are_named_by_path_and_the_first_one_is_reported(tmp_path):
    paths = [str(tmp_path / f"{i}.png") for i in range(6)]
    for i, path in enumerate(paths):
        (tmp_path / f"{i}.png").write_bytes(b"junk" if i in (3, 4) else picture(i))
        assert path.endswith(f"{i}.png")
    dataset = images(paths)
    with pytest.raises(DataError, match=r"row 3 \(.*3\.png\)"):
        check_images(dataset)
    with pytest.raises(DataError, match=r"row 0 \(.*4\.png\)"):
        check_images(dataset.select([4, 3]))
    (tmp_path / "1.png").unlink()
    with pytest.raises(DataError, match=r"row 1 \(.*1\.png\): the image file does not exist"):
        check_images(dataset)


@pytest.mark.parametrize("workers", [1, 2])
def test_several_processes_report_the_same_row(workers):
    contents = [picture(0)] * 20
    contents[17] = contents[13] = b"x"
    with pytest.raises(DataError, match="row 2: "):  # of 19, 18, ... 0
        check_images(images(in_memory(contents)).select(range(19, -1, -1)), num_workers=workers)
    contents[17] = contents[0]
    with pytest.raises(DataError, match="row 13: "):  # in the second part
        check_images(images(in_memory(contents)), num_workers=workers)


def test_more_processes_than_images():
    check_images(images(in_memory([picture(0)])), num_workers=8)
    check_images(images([], []), num_workers=8)


def test_missing_image_and_missing_column():
    with pytest.raises(DataError, match="row 1: the image is missing"):
        check_images(images([{"bytes": picture(0), "path": None}, None]))
    with pytest.raises(DataError, match="columns: image, label"):
        check_images(images(in_memory([picture(0)])), image_column="img")


def test_labels_out_of_range_or_missing():
    check_labels(integers([0, 1, 2]), num_classes=3)
    with pytest.raises(DataError, match=r"test, row 2: label 3 is out of range \(0 to 2\)"):
        check_labels(integers([0, 1, 3]), "test", num_classes=3)
    with pytest.raises(DataError, match="row 1: label -1 is out of range"):
        check_labels(images(in_memory([picture(0)] * 2), [0, -1]))
    with pytest.raises(DataError, match="train, row 1: label missing"):
        check_labels(images(in_memory([picture(0)] * 2), [0, None]))
    with pytest.raises(DataError, match="no column 'label'"):
        check_labels(images(in_memory([picture(0)])).remove_columns("label"))
    with pytest.raises(DataError, match="holds string"):
        check_labels(Dataset.from_dict({"label": ["ant"]}))


def test_empty_class_is_refused_in_train_only():
    dataset = images(in_memory([picture(0)] * 2), [0, 2])
    with pytest.raises(DataError, match=r"1 of 3 classes have no image \(bee\)"):
        check_labels(dataset, "train")
    check_labels(dataset, "test")
    with pytest.raises(DataError, match="test: the split has no images"):
        check_labels(dataset.select([]), "test")


def test_check_dataset_looks_at_everything():
    check_dataset(load_digits_dataset())
    good, broken = images(in_memory([picture(0)] * 3)), images(in_memory([picture(0), b"x", picture(0)]))
    with pytest.raises(DataError, match=r"^test, row 1: "):
        check_dataset(DatasetDict({"train": good, "test": broken}))
    check_dataset(DatasetDict({"train": good, "test": broken}), decode_images=False)
    other = images(in_memory([picture(0)] * 3), names=["ant", "cat", "bee"])
    with pytest.raises(DataError, match="test: its class names or their order differ"):
        check_dataset(DatasetDict({"train": good, "test": other}))
    with pytest.raises(DataError, match="no split 'train'"):
        check_dataset(DatasetDict({"test": good}))
    with pytest.raises(DataError, match="must be a ClassLabel"):
        check_dataset(DatasetDict({"train": integers([0, 1])}))
