"""Data sets that lists name: real layouts in small, every kind of list, and what is refused."""

import json
import os

import numpy as np
import pytest
from stand_ins import COUNTS, KINGDOMS, LAYOUTS, ROOMS, TESTED, WORDNET, imagenet_lt, inaturalist_2018, places_lt, save
from stand_ins import pictures as generated

from trainer.data import class_counts, load_long_tailed
from trainer.errors import DataError

NAMES = {"ImageNet-LT": WORDNET, "iNaturalist-2018": ("0", "1", "2"), "Places-LT": ROOMS}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_published_layouts(tmp_path, layout):
    splits = load_long_tailed(str(LAYOUTS[layout](tmp_path)))
    known = NAMES[layout.split(",")[0]] if "annotations" not in layout else [f"Species {k}" for k in KINGDOMS]
    assert splits["train"].features["label"].names == list(known)
    assert class_counts(splits["train"]).tolist() == list(COUNTS)
    assert class_counts(splits["test"]).tolist() == [TESTED] * 3
    for dataset in splits.values():  # an image is as bright as its class is high, so each row has its own file
        assert all(np.asarray(row["image"]).mean() // 85 == row["label"] for row in dataset)


def test_rows_stand_in_the_order_of_the_list(tmp_path):
    imagenet_lt(tmp_path)
    listed = [line.rsplit(" ", 1)[0] for line in (tmp_path / "ImageNet_LT_train.txt").read_text().splitlines()]
    stored = load_long_tailed(str(tmp_path))["train"].data["image"].to_pylist()
    assert [os.path.relpath(image["path"], tmp_path) for image in stored] == listed


def test_a_list_that_is_not_used_is_mentioned(tmp_path, caplog):
    load_long_tailed(str(imagenet_lt(tmp_path)))
    assert "ImageNet_LT_val.txt" in caplog.text


@pytest.fixture
def images(tmp_path, monkeypatch):
    """Images in a folder `data` of the working folder, without a list: c0/0.jpg, c1/1 x.jpg, c0/2.jpg, ..."""
    monkeypatch.chdir(tmp_path)
    for number, (_, image) in enumerate(generated((3, 3))):
        save(image, tmp_path / "data" / path_of(number))
    return tmp_path / "data"


def path_of(number):
    return f"c{number % 2}/{number} x.jpg" if number % 2 else f"c0/{number}.jpg"


def write(folder, train, test=None, name="{}.txt"):
    for split, lines in (("train", train), ("test", test)):
        if lines is not None:
            (folder / name.format(split)).write_bytes("\n".join(lines).encode())


def load(name="{}.txt", **settings):
    lists = {f"{split}_list": name.format(split) for split in ("train", "test")}
    return load_long_tailed("data", **{**lists, **settings})


TRAIN = [f"{path_of(i)} {i % 2}" for i in range(4)]
TEST = [f"{path_of(i)} {i % 2}" for i in (4, 5)]
TABLE = {"path": [path_of(i) for i in range(6)], "label": ["ant", "bee"] * 3}


@pytest.mark.parametrize("place", ["", "data/"])
@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_lines_with_blanks_in_paths(images, place, end):
    write(images.parent / place, [*TRAIN[:-1], TRAIN[-1] + end], TEST)
    splits = load()
    assert (splits["train"][:]["label"], splits["test"][:]["label"]) == ([0, 1] * 2, [0, 1])
    assert splits["train"].features["label"].names == ["c0", "c1"]


def rows(kind, numbers, labels, image="path", label="label"):
    pairs = [(path_of(i), labels[i]) for i in numbers]
    if kind == "csv":
        return [f"{label},id,{image}", *(f'{value},7,"{path}"' for path, value in pairs)]
    objects = [json.dumps({"id": 7, image: path, label: value}) for path, value in pairs]
    return objects if kind == "jsonl" else ["[", ",\n".join(objects), "]"]


@pytest.mark.parametrize("kind", ["csv", "json", "jsonl"])
@pytest.mark.parametrize(
    ("labels", "names", "expected"),
    [
        (["bee", "ant", "NA"] * 2, ["NA", "ant", "bee"], [2, 1, 0]),
        ([2, 0, 1] * 2, ["0", "1", "2"], [2, 0, 1]),
        (["2", "0", "1"] * 2, ["0", "1", "2"], [2, 0, 1]),
        (["007", "1", "01"] * 2, ["007", "01", "1"], [0, 2, 1]),
    ],
)
def test_tables(images, kind, labels, names, expected):
    write(images, rows(kind, range(3), labels), rows(kind, range(3, 6), labels), "{}." + kind)
    splits = load("{}." + kind)
    assert splits["train"].features["label"].names == names
    assert (splits["train"][:]["label"], splits["test"][:]["label"]) == (expected, expected)


@pytest.mark.parametrize("kind", ["csv", "json", "jsonl"])
def test_columns_of_tables_are_chosen(images, kind):
    for split, numbers in (("train", range(4)), ("test", (4, 5))):
        write(images, **{"train": None, split: rows(kind, numbers, [1, 0] * 3, "place", "kind")}, name="{}." + kind)
    with pytest.raises(DataError, match=r"no column called path, .*columns present: .*place.*--image_column"):
        load("{}." + kind)
    with pytest.raises(DataError, match=r"no column called label, .*--label_column"):
        load("{}." + kind, image_column="place")
    splits = load("{}." + kind, image_column="place", label_column="kind")
    assert splits["train"][:]["label"] == [1, 0] * 2
    with pytest.raises(DataError, match=r"train\.\w+: no column 'there'; columns present"):
        load("{}." + kind, image_column="there")


def test_a_test_split_is_cut_where_there_is_no_list_of_one(images):
    write(images, TRAIN + TEST)
    with pytest.raises(DataError, match="no test split"):
        load(test_list=None)
    splits = load(test_list=None, test_fraction=0.3)
    assert class_counts(splits["test"]).tolist() == [1, 1]


REFUSED = {
    "no label": (["c0/0.jpg"], TEST, r"train.txt, line 1: 'c0/0.jpg' is not a path, a blank and a whole number"),
    "blank line": ([TRAIN[0], "", TRAIN[1]], TEST, r"train.txt, line 2: '' is not a path"),
    "name for a number": ([TRAIN[0], "c1/1 x.jpg bee"], TEST, r"train.txt, line 2: 'c1/1 x.jpg bee' is not"),
    "huge label": ([TRAIN[0], "c1/1 x.jpg 9999999999999999999"], TEST, r"train.txt, line 2: .* is not"),
    "label alone": ([TRAIN[0], " 1"], TEST, r"train.txt, line 2: ' 1' is not a path"),
    "negative label": ([*TRAIN, "c0/4.jpg -1"], TEST[1:], r"train.txt, line 5: label -1 is negative"),
    "gap": ([TRAIN[0], "c1/1 x.jpg 3"], TEST, r"train.txt: class 1 has no train image \(labels run to 3\)"),
    "test label too large": (TRAIN, [*TEST[:1], "c1/5 x.jpg 2"], r"test.txt, line 2: class '2' has no train image"),
    "twice": ([*TRAIN, TRAIN[1]], TEST, r"train.txt, line 5: c1/1 x.jpg stands in line 2 too; remove one"),
    "in both": (TRAIN, [*TEST, TRAIN[2]], r"test.txt, line 3: c0/2.jpg is a training image too, by .*train.txt"),
    "empty": ([], TEST, r"train.txt: the list has no rows"),
    "not UTF-8": (["caf\udce9.jpg 0"], TEST, r"train.txt cannot be read as .txt: it is not UTF-8"),
    "out of the folder": ([*TRAIN, "../x.jpg 0"], TEST, r"train, row 4: image .* leads to .*x.jpg; nothing outside"),
    "absolute": ([*TRAIN, "/etc/hostname 0"], TEST, r"train, row 4: image /etc/hostname leads to /etc/hostname"),
    "null byte": ([*TRAIN, "a\0b 0"], TEST, r"train, row 4: .* is no file of the data set"),
    "one class": (TRAIN[::2], TEST[:1], None),
    "no image is there": (["a/1.jpg 0", "a/2.jpg 1"], TEST, r"its images are not where it says; expected /.*data/a/1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_lines(images, name):
    train, test, message = REFUSED[name]
    for split, lines in (("train", train), ("test", test)):
        (images / f"{split}.txt").write_bytes("\n".join(lines).encode(errors="surrogateescape"))
    if message is None:  # by `check_dataset`, as of any other data
        assert load()["train"].features["label"].num_classes == 1
        return
    with pytest.raises(DataError, match=message) as caught:
        load()
    assert "\n" not in str(caught.value)


TABLES = {
    "empty cell": ("csv", ["path,label", "c0/0.jpg,ant", "c1/1 x.jpg,"], r"train.csv, line 3: nothing in column 'lab"),
    "too many cells": ("csv", ["path,label", "c0/0.jpg,ant", "a,b,c"], r"train.csv cannot be read as .csv: .*columns"),
    "two columns of paths": ("csv", ["path,image,label", "a,b,c"], r"several of the columns path, image; .*--image"),
    "float labels": ("jsonl", ['{"path": "a", "label": 0.5}'], r"column 'label' holds double; one class name"),
    "null path": ("jsonl", ['{"path": "a", "label": 1}', '{"label": 0}'], r"train.jsonl, line 2: nothing in colu"),
    "paths that are numbers": ("jsonl", ['{"path": 3, "label": 1}'], r"column 'path' holds int64, not paths"),
    "broken JSON": ("json", ["[", '{"path": "a", "label"}', "]"], r"train.json cannot be read as .json: "),
    "list of paths": ("json", ['["a", "b"]'], r"cannot be read as .json: a list of objects is needed"),
    "other object": ("json", ['{"a": 1}'], r"train.json: it has no images and no annotations and no categories; a li"),
    "no JSON": ("json", ["path label"], r"train.json cannot be read"),
    "no gzip": ("txt.gz", ["a 0"], r"train.txt.gz cannot be read \(Not a gzipped file"),
}


@pytest.mark.parametrize("name", TABLES)
def test_refused_tables(images, name):
    kind, lines, message = TABLES[name]
    write(images, lines, name="{}." + kind)
    with pytest.raises(DataError, match=message) as caught:
        load("{}." + kind, test_list=None)
    assert "\n" not in str(caught.value)


ANNOTATIONS = {
    "image without category": (lambda d: d["annotations"].pop(), r"image \d+: no annotation has the category of tra"),
    "two categories": (lambda d: d["annotations"].append(d["annotations"][0]), r"27 annotations of 26 images"),
    "ids from 1": (lambda d: [c.update(id=c["id"] + 1) for c in d["categories"]], r"ids of the categories are not 0"),
    "no file name": (lambda d: d["images"][1].pop("file_name"), r"image 2: it has no file_name"),
}


@pytest.mark.parametrize("name", ANNOTATIONS)
def test_refused_annotations(tmp_path, name):
    change, message = ANNOTATIONS[name]
    file = inaturalist_2018(tmp_path, annotations=True) / "train2018.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=rf"train2018\.json.*{message}"):
        load_long_tailed(str(tmp_path))


@pytest.mark.parametrize("change", ["order", "number"])
def test_annotations_of_test_with_other_categories(tmp_path, change):
    """A test image of category 0 would be one of another species."""
    file = inaturalist_2018(tmp_path, annotations=True) / "val2018.json"
    content = json.loads(file.read_text())
    names = [category["name"] for category in content["categories"]]
    if change == "order":
        for category in content["categories"]:
            category["name"] = names[(category["id"] + 1) % len(names)]
        detail = f"{names[1]} where the other has {names[0]}"
    else:
        content["categories"].append({"id": 3, "name": "Species X"})
        detail = "4 for 3"
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=rf"val2018\.json: the categories, .* of \S*train2018\.json: {detail}; number"):
        load_long_tailed(str(tmp_path))


def test_categories_of_one_name_are_called_by_their_folders(tmp_path):
    file = inaturalist_2018(tmp_path, annotations=True) / "train2018.json"
    content = json.loads(file.read_text())
    content["categories"][2]["name"] = content["categories"][1]["name"]
    file.write_text(json.dumps(content))
    assert load_long_tailed(str(tmp_path))["test"].features["label"].names == ["0", "1", "2"]


def test_classes_that_share_a_folder_are_called_by_their_numbers(images):
    write(images, [f"{path_of(i)} {i % 3}" for i in range(6)])
    splits = load(test_list=None, test_fraction=0.5)
    assert splits["train"].features["label"].names == ["0", "1", "2"]


def test_lists_that_are_not_there(images):
    write(images, TRAIN)
    with pytest.raises(DataError, match=r"test_list: there is no file test.txt, nor one of this name in data"):
        load()
    with pytest.raises(DataError, match="test_list needs a train_list"):
        load(train_list=None)
    with pytest.raises(DataError, match="'digits' is none, name their folder"):
        load_long_tailed("digits", train_list="train.txt")
    with pytest.raises(DataError, match="no configurations"):
        load(test_list=None, config_name="plain")
    with pytest.raises(DataError, match="have no columns"):
        load(test_list=None, image_column="path")


def test_a_folder_with_lists_of_two_data_sets_is_refused_until_one_is_named(tmp_path):
    places_lt(imagenet_lt(tmp_path, base="ILSVRC/Data/CLS-LOC"))
    with pytest.raises(DataError, match=r"lists of ImageNet-LT and Places-LT; name one by --train_list"):
        load_long_tailed(str(tmp_path))
    splits = load_long_tailed(str(tmp_path), train_list="Places_LT_train.txt", test_list="Places_LT_test.txt")
    assert splits["train"].features["label"].names == list(ROOMS)


def test_what_contradicts_an_official_list(tmp_path):
    imagenet_lt(tmp_path)
    (tmp_path / "ImageNet_LT_train.txt.gz").write_bytes(b"")
    with pytest.raises(DataError, match=r"ImageNet_LT_train.txt and ImageNet_LT_train.txt.gz; remove one"):
        load_long_tailed(str(tmp_path))
    (tmp_path / "ImageNet_LT_train.txt.gz").unlink()
    (tmp_path / "train-00000-of-00001.parquet").write_bytes(b"")
    with pytest.raises(DataError, match=r"ImageNet_LT_train.txt and train-00000-of-00001.parquet, two data sets"):
        load_long_tailed(str(tmp_path))
    (tmp_path / "train-00000-of-00001.parquet").unlink()
    (tmp_path / "ImageNet_LT_train.txt").unlink()
    with pytest.raises(DataError, match=r"holds ImageNet_LT_test.txt, .* without ImageNet_LT_train.txt"):
        load_long_tailed(str(tmp_path))


def test_annotations_beside_lists_are_left_alone(tmp_path):
    inaturalist_2018(inaturalist_2018(tmp_path, annotations=True))
    assert load_long_tailed(str(tmp_path))["train"].features["label"].names == ["0", "1", "2"]


def test_a_wrong_folder_is_shown_beside_the_expected_one(tmp_path):
    imagenet_lt(tmp_path)
    (tmp_path / "train").rename(tmp_path / "pictures")
    with pytest.raises(DataError) as caught:
        load_long_tailed(str(tmp_path))
    expected = tmp_path / "train" / "n01440764" / "n01440764_100.JPEG"
    assert f"expected {expected} or {tmp_path}/ILSVRC/Data/CLS-LOC/train/" in str(caught.value)
    assert "holds: ImageNet_LT_test.txt, ImageNet_LT_train.txt, ImageNet_LT_val.txt, pictures, val" in str(
        caught.value
    )
    assert "\n" not in str(caught.value)


def test_a_list_says_which_images_of_a_tree_there_are(tmp_path):
    """The folder of ImageNet is a tree of class folders too; the official list wins over it."""
    root = imagenet_lt(tmp_path)
    for split in ("train", "test", "val"):
        (root / f"ImageNet_LT_{split}.txt").rename(root.parent / f"{split}-of-{root.name}.txt")
    assert class_counts(load_long_tailed(str(root))["train"]).tolist() == [15, 11, 9]
