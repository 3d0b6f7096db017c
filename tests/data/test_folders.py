"""Class folders inside folders, and what would be lost in them."""

import numpy as np
import pytest
from PIL import Image

from trainer.data import class_counts, load_long_tailed
from trainer.errors import DataError


def tree(root, **counts):
    """`counts`: images by folder, with `__` for a slash; an image is as bright as its folder's place in the order."""
    for place, (folder, count) in enumerate(counts.items()):
        path = root / folder.replace("__", "/")
        path.mkdir(parents=True, exist_ok=True)
        for i in range(count):
            Image.fromarray(np.full((4, 4, 3), place, dtype=np.uint8)).save(path / f"{i}.png")
    return str(root)


NESTED = {
    "train__birds__heron": 3,
    "train__birds__owl": 2,
    "train__fish__bony__eel": 4,
    "train__fox": 1,
    "test__fish__bony__eel": 2,
    "test__birds__owl": 1,
}


def test_the_class_is_the_path(tmp_path):
    splits = load_long_tailed(tree(tmp_path, **NESTED))
    assert splits["train"].features["label"].names == ["birds/heron", "birds/owl", "fish/bony/eel", "fox"]
    assert class_counts(splits["train"]).tolist() == [3, 2, 4, 1]
    assert class_counts(splits["test"]).tolist() == [0, 1, 2, 0]
    seen = [(row["label"], row["image"].getpixel((0, 0))[0]) for row in splits["test"]]
    assert seen == [(1, 5), (2, 4), (2, 4)]


def test_or_the_last_folder_and_folders_of_one_name_are_one_class(tmp_path):
    root = tree(tmp_path, **NESTED, train__zoo__owl=2)
    splits = load_long_tailed(root, class_from="folder")
    assert splits["train"].features["label"].names == ["eel", "fox", "heron", "owl"]
    assert class_counts(splits["train"]).tolist() == [4, 1, 3, 4]
    owls = [row["image"].getpixel((0, 0))[0] for row in splits["train"] if row["label"] == 3]
    assert owls == [1, 1, 6, 6]
    assert class_counts(splits["test"]).tolist() == [2, 0, 0, 1]


@pytest.mark.parametrize("train", ["train", "."])
def test_classes_in_one_folder(tmp_path, train):
    """The folder above them all is of their paths, as it is where there are several."""
    folders = {f"{train}__birds__heron": 3, f"{train}__birds__crane": 2}
    root = tree(tmp_path, **folders, **({"test__birds__heron": 1} if train == "train" else {}))
    cut = {} if train == "train" else {"test_fraction": 0.4}
    splits = load_long_tailed(root, **cut)
    assert splits["train"].features["label"].names == ["birds/crane", "birds/heron"]
    names = load_long_tailed(root, class_from="folder", **cut)["train"].features["label"].names
    assert names == ["crane", "heron"]


@pytest.mark.parametrize(
    ("folders", "class_from", "name"),
    [
        (["train__a", "test__a"], "path", "a"),
        (["train__birds__heron", "test__birds__heron"], "path", "birds/heron"),
        (["train__site1__scratch", "train__site2__scratch"], "folder", "scratch"),
        (["birds__heron"], "path", "birds/heron"),
    ],
)
def test_one_class_at_any_depth(tmp_path, folders, class_from, name):
    root = tree(tmp_path, **dict.fromkeys(folders, 2))
    with pytest.raises(DataError, match=rf"one class folder \({name}\) leaves nothing to tell apart"):
        load_long_tailed(root, class_from=class_from, test_fraction=0.5)


@pytest.mark.parametrize("place", ["pictures", "all__pictures"])
def test_splits_inside_a_folder_are_left_to_datasets(tmp_path, place):
    folders = {f"{place}__{split}__{name}": 2 for split in ("train", "test") for name in ("a", "b")}
    splits = load_long_tailed(tree(tmp_path, **folders))
    assert splits["train"].features["label"].names == ["a", "b"]
    assert {split: len(dataset) for split, dataset in splits.items()} == {"train": 4, "test": 4}


def test_classes_that_are_called_like_splits(tmp_path):
    splits = load_long_tailed(tree(tmp_path, train__toys__train=2, train__toys__test=1, test__toys__train=1))
    assert splits["train"].features["label"].names == ["toys/test", "toys/train"]


def test_a_list_in_a_folder_of_folders_is_left_to_datasets(tmp_path):
    root = tree(tmp_path, train__images__0=2, train__images__1=1)
    rows = ["file_name,label", "images/0/0.png,cat", "images/0/1.png,ant", "images/1/0.png,cat"]
    (tmp_path / "train" / "metadata.csv").write_text("\n".join(rows))
    splits = load_long_tailed(root, label_column="label", test_fraction=0.5)
    assert splits["train"].features["label"].names == ["ant", "cat"]


def test_without_split_folders(tmp_path):
    splits = load_long_tailed(tree(tmp_path, a__b__c=4, a__d=4, e=2), test_fraction=0.5)
    assert splits["train"].features["label"].names == ["a/b/c", "a/d", "e"]


@pytest.mark.parametrize(
    ("stray", "message"),
    [
        ("train/birds/9.png", r"birds/heron: a folder inside a class folder, so it would be lost; keep images in"),
        ("train/birds/notes.txt", r"birds/notes.txt: not an image file, so it would be lost"),
        ("train/birds/heron/more/9.png", r"heron/more: a folder inside a class folder"),
        ("train/9.png", r"train/9.png: an image outside the class folders"),
        ("test/birds/swan/9.png", r"birds/swan: test has class 'birds/swan', train has not"),
        ("train/birds/swan/.hidden", r"birds/swan: class 'birds/swan' has no train image"),
    ],
)
def test_what_would_be_lost(tmp_path, stray, message):
    root = tree(tmp_path, **NESTED)
    (tmp_path / stray).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(tmp_path / stray, format="PNG")
    with pytest.raises(DataError, match=message):
        load_long_tailed(root)


def test_links_that_lead_round_and_folders_of_links(tmp_path):
    root = tree(tmp_path, **NESTED)
    (tmp_path / "train" / "birds" / "again").symlink_to("..")
    with pytest.raises(DataError, match=r"again: a link to a folder that it lies in; remove it"):
        load_long_tailed(root)


def test_hidden_folders_are_mentioned_at_every_depth(tmp_path, caplog):
    load_long_tailed(tree(tmp_path, **NESTED, **{"train__birds__.old": 1}))
    assert ".old" in caplog.text


@pytest.mark.parametrize(("folder", "split"), [("Testing", "test"), ("training", "train"), ("val", "val")])
def test_splits_of_other_names_are_no_classes(tmp_path, folder, split):
    root = tree(tmp_path, **{f"{folder}__a": 1, f"{folder}__b": 1, "rest__a": 1})
    with pytest.raises(DataError, match=rf"{folder}: a folder of class folders; if it is a split, call it '{split}'"):
        load_long_tailed(root, test_fraction=0.5)
