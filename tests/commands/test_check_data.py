"""`deit-lt check-data`: figures, missing files, broken images, and the published data sets."""

import csv
import shutil
from pathlib import Path

import pytest
from helpers import arguments, image_tree, write_recipe
from stand_ins import imagenet_lt, places_lt

from trainer.arguments import DataArguments
from trainer.commands import check_data
from trainer.data.image_checks import _Checked
from trainer.data.layouts import probe_rows
from trainer.data.list_files import read_list
from trainer.errors import DataError, SettingError
from trainer.run.data import prepare_data

REAL = next((p / "shared/data/splits" for p in Path(__file__).parents if (p / "shared/data/splits").is_dir()), None)


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    """Runs the command on `images` in a working folder of its own; returns what it prints and what it refuses."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_CACHE_HOME", str(tmp_path / "cache"))
    recipe = str(write_recipe(tmp_path))

    def run(*flags, name=recipe):
        refusal = None
        try:
            check_data.main([name, "images", *flags])
        except DataError as error:
            refusal = str(error)
        return capsys.readouterr().out.splitlines(), refusal

    return run


def test_good_data(check, tmp_path):
    image_tree(tmp_path / "images", test=(3, 2, 0))
    told, refusal = check("--group_boundaries", "1", "2")
    assert refusal is None
    assert told == [
        "split  images  classes  rho  largest class  smallest class",
        "train      26        3    2  12 (level0)    6 (level2)",
        "test        5        2    -  3 (level0)     0 (level2)",
        "head/mid/tail    1 / 1 / 1 classes: ranks 1, 2, 3 by training count",
        "many/medium/few  0 / 0 / 3 classes: >100, 20-100, <20 training images",
        "files            0 missing",
        "decoded          31 images, a sample",
        "ok",
    ]


def test_missing_files_and_broken_images_are_all_listed(check, tmp_path):
    imagenet_lt(tmp_path / "images")
    gone = sorted((tmp_path / "images").glob("train/*/*_1*.JPEG"))[1:4]
    for path in gone:
        path.unlink()
    broken = sorted((tmp_path / "images").glob("val/*/*.JPEG"))[:2]
    for path in broken:
        path.write_bytes(b"junk")
    told, refusal = check("--decode", "all")
    problems = [line for line in told if line.startswith("problem: ")]
    missing = sorted_as_listed(gone)
    text = f"3 files are missing (3 of train), the first {missing[0]}; all are listed in missing_files.txt"
    assert f"problem: {text}" in told
    assert problems[-1].endswith("(2 such images, listed in undecodable_images.tsv)")
    assert Path("missing_files.txt").read_text().split() == [str(path) for path in missing]
    rows = list(csv.reader(Path("undecodable_images.tsv").read_text().splitlines(), "excel-tab"))[1:]
    assert sorted(path for _, _, path, _ in rows) == [str(path) for path in broken]
    assert refusal == f"images: {len(problems)} problems, listed above"


def sorted_as_listed(paths):
    root = paths[0].parents[2]
    order = read_list(root / "ImageNet_LT_train.txt").paths.to_pylist()
    return sorted(paths, key=lambda path: order.index(str(path.relative_to(root))))


@pytest.mark.parametrize(("decode", "seen"), [("all", True), ("sample", False), ("none", False)])
def test_how_much_is_decoded(check, tmp_path, decode, seen):
    image_tree(tmp_path / "images", counts=(200, 8, 6))
    (tmp_path / "images/train/level0/77.png").write_bytes(b"junk")
    told, refusal = check("--decode", decode, "--sample", "3")
    assert (refusal is not None) == seen
    assert any("decoded" in line for line in told) == (decode != "none")
    Path("lists").mkdir()
    told, refusal = check("--sample", "1000", "--report_folder", "lists")
    assert told[-1].startswith("problem: train, row ")
    assert "77.png" in Path("lists/undecodable_images.tsv").read_text()


def test_what_was_decoded_is_not_decoded_by_a_run(check, tmp_path, monkeypatch):
    image_tree(tmp_path / "images")
    assert check("--decode", "all")[1] is None
    monkeypatch.setattr(_Checked, "_seen_of", None)
    for validation in (False, True):
        prepare_data(DataArguments(dataset="images"), arguments(tmp_path / "out"), validation)
    (tmp_path / "images/train/level0/1.png").touch()
    with pytest.raises(DataError, match=r"\(26 such images, listed in \S*out/undecodable_images.tsv\)"):
        prepare_data(DataArguments(dataset="images"), arguments(tmp_path / "out"))


def test_other_data_than_published(check, tmp_path):
    imagenet_lt(tmp_path / "images")
    told, refusal = check()
    assert "compared to      ImageNet-LT as published" in told
    assert "problem: ImageNet-LT has 1,000 classes, here are 3" in told
    assert "problem: ImageNet-LT has 115,846 training images, here are 26" in told
    assert any("ImageNet_LT_test.txt is not the published list (git blob" in line for line in told)
    assert refusal == "images: 5 problems, listed above"


def test_boundaries_of_other_data(check, tmp_path):
    image_tree(tmp_path / "images")
    assert check(name="imagenet_lt_resnet50_paco")[1].startswith("boundaries 'imagenet_lt' are for 1000 classes")


@pytest.mark.skipif(REAL is None, reason="no local copy of the lists")
@pytest.mark.parametrize("version", ["", "_v2"])
def test_the_real_places_lt(check, tmp_path, version):
    """Its lists over a folder that holds the few images that are looked for first."""
    image, images = next(places_lt(tmp_path / "small").rglob("*.jpg")), tmp_path / "images"
    images.mkdir()
    for split in ("train", "test"):
        shutil.copy(REAL / f"Places_LT{version}_{split}.txt.gz", images / f"Places_LT_{split}.txt.gz")
        paths = read_list(images / f"Places_LT_{split}.txt.gz").paths
        for row in probe_rows(len(paths)):
            file = images / paths[row].as_py()
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(image, file)
    told, refusal = check("--decode", "all")
    assert told[1].split() == ["train", "62,500", "365", "996", "4,980", "(amusement_park)", "5", "(chemistry_lab)"]
    assert "many/medium/few  131 / 163 / 71 classes: >100, 20-100, <20 training images" in told
    assert [line for line in told if line.startswith("problem")] == [told[-1]]
    assert told[-1].startswith("problem: 98,984 files are missing (62,492 of train, 36,492 of test), the first ")
    assert told[-2] == "decoded          16 images"
    assert len(Path("missing_files.txt").read_text().splitlines()) == 98_984
    assert refusal == "images: 1 problem, listed above"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--decode", "some"], "decode must be one of all, sample, none, got some"),
        (["--sample", "0"], "sample must lie in"),
        (["--report_folder", "nowhere"], "there is no folder nowhere"),
        (["--class_from", "name"], "class_from must be one of path, folder"),
        (["--alpha", "1"], "unknown argument --alpha"),
    ],
)
def test_wrong_flags(check, flags, message):
    with pytest.raises(SettingError, match=message):
        check(*flags)
