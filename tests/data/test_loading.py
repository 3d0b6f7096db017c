from pathlib import Path

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Image, Value
from PIL import Image as PILImage
from sklearn.datasets import load_digits

from trainer.data import check_dataset, class_counts, load_digits_dataset, load_long_tailed
from trainer.errors import DataError

REAL = Path(__file__).parents[3] / "shared" / "data"


def solid(value):
    return PILImage.fromarray(np.full((4, 4, 3), value, dtype=np.uint8))


def make_tree(root, counts):
    """Files of one colour each; the colour says which class folder they belong to."""
    for place, (folder, count) in enumerate(counts.items()):
        (root / folder).mkdir(parents=True)
        for i in range(count):
            solid(place).save(root / folder / f"{i}.png")
    return str(root)


def make_parquet(root, columns, features=None, **splits):
    """`splits`: rows per split; `columns(n)` gives the columns of n rows."""
    root.mkdir(exist_ok=True)
    for split, rows in splits.items():
        dataset = Dataset.from_dict(columns(rows), features=features)
        dataset.to_parquet(str(root / f"{split}-00000-of-00001.parquet"))
    return str(root)


def pictures(rows):
    return [solid(i % 256) for i in range(rows)]


def test_digits():
    splits = load_digits_dataset()
    assert class_counts(splits["test"]).tolist() == [50] * 10
    assert len(splits["train"]) == 1797 - 500
    source = load_digits()
    expected = sorted((tuple(image.ravel()), label) for image, label in zip(source.images, source.target, strict=True))
    loaded = []
    for dataset in splits.values():
        for row in dataset:
            pixels = np.asarray(row["image"])
            assert pixels.dtype == np.uint8
            loaded.append((tuple(np.rint(pixels.ravel() * (16 / 255))), row["label"]))
    assert sorted(loaded) == expected  # every image once, nothing lost in scaling
    assert load_digits_dataset()["test"][:]["label"] == splits["test"][:]["label"]


def test_long_tail_touches_train_only():
    splits = load_long_tailed("digits", rho=10)
    counts = class_counts(splits["train"])
    assert counts[0] / counts[-1] == pytest.approx(10, rel=0.1)
    assert class_counts(splits["test"]).tolist() == [50] * 10
    assert class_counts(load_long_tailed("digits", rho=1, max_per_class=7)["train"]).tolist() == [7] * 10
    with pytest.raises(ValueError, match="max_per_class"):
        load_long_tailed("digits", max_per_class=7)


def test_tree_of_files(tmp_path):
    root = make_tree(tmp_path / "test_of_trees", {"train/dog": 3, "train/cat": 2, "test/dog": 1, "test/cat": 2})
    splits = load_long_tailed(root)
    assert splits["train"].features == Features({"image": Image(), "label": ClassLabel(names=["cat", "dog"])})
    assert [(row["label"], row["image"].getpixel((0, 0))[0]) for row in splits["train"]] == [(0, 1)] * 2 + [(1, 0)] * 3
    assert [(row["label"], row["image"].getpixel((0, 0))[0]) for row in splits["test"]] == [(0, 3)] * 2 + [(1, 2)]
    check_dataset(splits)


def test_tree_class_folders_that_imagefolder_takes_for_splits(tmp_path):
    counts = {"train/test": 3, "train/val": 2, "train/train_car": 4, "test/val": 1, "test/test": 1}
    splits = load_long_tailed(make_tree(tmp_path / "a", counts))
    assert splits["train"].features["label"].names == ["test", "train_car", "val"]
    assert class_counts(splits["train"]).tolist() == [3, 4, 2]
    assert class_counts(splits["test"]).tolist() == [1, 0, 1]  # a class without test images is allowed
    only_classes = make_tree(tmp_path / "b", {"test_tube": 4, "train": 5})
    assert class_counts(load_long_tailed(only_classes, test_fraction=0.5)["test"]).tolist() == [2, 2]


def test_tree_validation_serves_as_test_and_unused_splits_are_mentioned(tmp_path, caplog):
    root = make_tree(tmp_path / "a", {"train/x": 1, "train/y": 1, "val/x": 2, "val/y": 1})
    assert class_counts(load_long_tailed(root)["test"]).tolist() == [2, 1]
    make_tree(tmp_path / "a", {"test/y": 3, "spare/x": 1})
    assert class_counts(load_long_tailed(root)["test"]).tolist() == [0, 3]
    assert "val" in caplog.text
    assert "spare" in caplog.text


def test_tree_without_test_split(tmp_path):
    root = make_tree(tmp_path / "a", {"x": 10, "y": 5, "z": 1})
    with pytest.raises(DataError, match=r"no test split \(splits present: train\).*--test_fraction"):
        load_long_tailed(root)
    splits = load_long_tailed(root, test_fraction=0.2)
    assert class_counts(splits["train"]).tolist() == [8, 4, 1]
    assert class_counts(splits["test"]).tolist() == [2, 1, 0]
    with pytest.raises(DataError, match="leave out --test_fraction"):
        load_long_tailed("digits", test_fraction=0.2)


def test_tree_class_missing_on_one_side(tmp_path):
    root = make_tree(tmp_path / "a", {"train/cat": 1, "train/dog": 1, "test/cat": 1, "test/emu": 1})
    with pytest.raises(DataError, match=r"test.emu: test has class 'emu', train has not"):
        load_long_tailed(root)
    root = make_tree(tmp_path / "b", {"train/cat": 1, "train/dog": 0, "test/cat": 1})
    with pytest.raises(DataError, match="class 'dog' has no train image"):
        load_long_tailed(root)


@pytest.mark.parametrize("stray", ["train/cat/x.pngx", "train/cat/noext", "test/dog/notes.txt", "train/cat/sub/x.png"])
def test_tree_files_that_would_be_lost(tmp_path, stray):
    root = make_tree(tmp_path / "a", {"train/cat": 1, "train/dog": 1, "test/cat": 1, "test/dog": 1})
    (tmp_path / "a" / stray).parent.mkdir(exist_ok=True)
    solid(0).save(tmp_path / "a" / stray, format="PNG")
    with pytest.raises(DataError, match="would be lost") as caught:
        load_long_tailed(root)
    assert stray.rsplit("/", 1)[0] in str(caught.value).replace("\\", "/")


def test_tree_loose_images_and_files_fine_to_ignore(tmp_path):
    root = make_tree(tmp_path / "a", {"train/cat": 1, "train/dog": 1, "test/cat": 1, "test/.cache": 1})
    for name in ("README.md", "train/.DS_Store", "train/cat/.DS_Store", "train/cat/metadata.csv"):
        (tmp_path / "a" / name).write_text("x")
    solid(0).save(tmp_path / "a" / "train" / "dog" / "UPPER.PNG")
    assert class_counts(load_long_tailed(root)["train"]).tolist() == [1, 2]
    solid(0).save(tmp_path / "a" / "train" / "loose.png")
    with pytest.raises(DataError, match=r"loose\.png: an image outside the class folders"):
        load_long_tailed(root)


def test_flat_files_with_metadata_are_left_to_datasets(tmp_path):
    root = make_tree(tmp_path / "a", {"train": 2, "test": 1})
    for split, rows in (("train", "0.png,cat\n1.png,ant\n"), ("test", "0.png,cat\n")):
        (tmp_path / "a" / split / "metadata.csv").write_text("file_name,label\n" + rows)
    splits = load_long_tailed(root)
    assert splits["train"].features["label"].names == ["ant", "cat"]
    assert (splits["train"][:]["label"], splits["test"][:]["label"]) == ([1, 0], [1])


def test_columns_are_found_renamed_and_others_dropped(tmp_path):
    features = Features({"id": Value("string"), "img": Image(), "fine": ClassLabel(names=["b", "a"])})
    root = make_parquet(
        tmp_path / "a",
        lambda n: {"id": [str(i) for i in range(n)], "img": pictures(n), "fine": [i % 2 for i in range(n)]},
        features,
        train=4,
        test=2,
    )
    splits = load_long_tailed(root)
    assert splits["test"].column_names == ["image", "label"]
    assert splits["train"].features["label"].names == ["b", "a"]
    assert splits["train"][3]["image"].getpixel((0, 0)) == (3, 3, 3)
    with pytest.raises(DataError, match="no column 'coarse'; columns present: id, img, fine"):
        load_long_tailed(root, label_column="coarse")
    with pytest.raises(DataError, match="column 'fine' holds no images"):
        load_long_tailed(root, image_column="fine", label_column="id")
    with pytest.raises(DataError, match="'img' cannot be both"):
        load_long_tailed(root, label_column="img")


def test_ambiguous_and_missing_columns(tmp_path):
    features = Features({"img": Image(), "fine": ClassLabel(names=["a"]), "coarse": ClassLabel(names=["z"])})
    root = make_parquet(
        tmp_path / "a", lambda n: {"img": pictures(n), "fine": [0] * n, "coarse": [0] * n}, features, train=2, test=1
    )
    with pytest.raises(DataError, match=r"\(fine, coarse\).*--label_column"):
        load_long_tailed(root)
    assert load_long_tailed(root, label_column="coarse")["train"].features["label"].names == ["z"]
    root = make_parquet(tmp_path / "b", lambda n: {"x": [1.5] * n, "label": [0] * n}, train=2, test=1)
    with pytest.raises(DataError, match="no image column; columns present: x, label; choose with --image_column"):
        load_long_tailed(root)


def load_with_labels(tmp_path, train, test):
    kind = "string" if isinstance(train[0], str) else "int64"
    features = Features({"image": Image(), "label": Value(kind)})
    for split, labels in (("train", train), ("test", test)):
        columns = {"image": pictures(len(labels)), "label": labels}
        make_parquet(tmp_path, lambda n, columns=columns: columns, features, **{split: len(labels)})
    return load_long_tailed(str(tmp_path))


def test_string_and_integer_labels_become_classes(tmp_path):
    splits = load_with_labels(tmp_path / "a", ["dog", "ant", "dog"], ["dog"])
    assert splits["train"].features["label"] == ClassLabel(names=["ant", "dog"])
    assert (splits["train"][:]["label"], splits["test"][:]["label"]) == ([1, 0, 1], [1])
    splits = load_with_labels(tmp_path / "b", list(range(11)), [10, 2])
    assert splits["test"].features["label"].names == [str(i) for i in range(11)]
    assert (splits["train"][:]["label"], splits["test"][:]["label"]) == (list(range(11)), [10, 2])


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ([0, 1, -3], [0], "train, row 2: label -3 is negative"),
        ([0, 3, 1], [0], "class 2 has no train image"),
        ([1, 2], [1], "class 0 has no train image"),
        ([0, 1], [1, 2], "test, row 1: class 2 has no train image"),
        ([0, None], [0], "train, row 1: label missing"),
        (["a", "b"], ["a", "c"], "test, row 1: class 'c' has no train image"),
        (["a", None], ["a"], "train, row 1: label missing"),
    ],
)
def test_refused_labels(tmp_path, train, test, message):
    with pytest.raises(DataError, match=message):
        load_with_labels(tmp_path, train, test)


def test_places_that_do_not_exist(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "file.parquet").write_bytes(b"")

    def network(*args, **kwargs):
        raise AssertionError("a path must not be looked up on the Hub")

    monkeypatch.setattr("datasets.load_dataset", network)
    for name in ("./nope", "/nope/x", "~/nope-nope", "a/b/c", "data/nope", "nope/"):
        with pytest.raises(DataError, match="there is no folder"):
            load_long_tailed(name)
    with pytest.raises(DataError, match="is a file"):
        load_long_tailed("file.parquet")


def test_what_cannot_be_loaded_is_one_line(tmp_path):
    for name in ("nobody/nothing", "nothing-at-all", str(tmp_path)):
        with pytest.raises(DataError, match="cannot load") as caught:
            load_long_tailed(name)
        assert "\n" not in str(caught.value)
    (tmp_path / "train-00000-of-00001.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataError, match=r"cannot load.*[Pp]arquet"):
        load_long_tailed(str(tmp_path))
    with pytest.raises(DataError, match="no configurations"):
        load_long_tailed("digits", config_name="plain")


@pytest.mark.parametrize("kind", ["lists", "parquet", "digits", "hub"])
def test_class_from_is_for_class_folders_alone(tmp_path, monkeypatch, kind):
    """Nothing is downloaded or prepared for data that it is nothing for."""
    names, lists = {"digits": "digits", "hub": "nobody/nothing"}, {}
    if kind == "lists":
        make_tree(tmp_path, {"cat": 1, "dog": 1})
        (tmp_path / "train.txt").write_text("cat/0.png 0\ndog/0.png 1\n")
        lists = {"train_list": "train.txt"}
    elif kind == "parquet":
        make_parquet(tmp_path, lambda n: {"image": pictures(n), "label": [0, 1]}, train=2, test=2)

    def reader(*args, **kwargs):
        raise AssertionError("the data must not be read")

    monkeypatch.setattr("datasets.load_dataset", reader)
    with pytest.raises(DataError, match=r"is not read from class folders, .* class_from folder .*; leave it out, or"):
        load_long_tailed(names.get(kind, str(tmp_path)), class_from="folder", **lists)


def test_real_planktonset():
    if not (REAL / "planktonset").is_dir():
        pytest.skip("no local copy of planktonset")
    splits = load_long_tailed(str(REAL / "planktonset"))
    counts = class_counts(splits["train"])
    assert (len(counts), counts.sum(), counts.max(), counts.min()) == (121, 24265, 1583, 7)
    assert [(counts > 100).sum(), ((counts <= 100) & (counts >= 20)).sum(), (counts < 20).sum()] == [59, 45, 17]
    assert len(splits["test"]) == 6071
    check_dataset(splits, decode_images=False)


def test_real_cifar():
    if not (REAL / "cifar100").is_dir():
        pytest.skip("no local copy of cifar100")
    with pytest.raises(DataError, match=r"fine_label, coarse_label.*--label_column"):
        load_long_tailed(str(REAL / "cifar100"))
    splits = load_long_tailed(str(REAL / "cifar100"), rho=100, label_column="fine_label")
    assert len(splits["train"]) == 10847
    assert class_counts(splits["test"]).tolist() == [100] * 100
