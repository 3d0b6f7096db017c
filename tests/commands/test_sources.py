"""Small ImageNet-LT, iNaturalist-2018 and Places-LT through the real commands: train, evaluate, report."""

import json
import sys
from pathlib import Path

import pytest
from helpers import write_recipe
from stand_ins import COUNTS, TESTED, imagenet_lt, inaturalist_2018, places_lt

from trainer.commands import evaluate, finetune
from trainer.commands.__main__ import main

DATA = {
    "ImageNet-LT": (lambda root: imagenet_lt(root, "ILSVRC/Data/CLS-LOC", flat_val=True), []),
    "iNaturalist-2018": (inaturalist_2018, []),
    "Places-LT": (lambda root: places_lt(root, lists=2, folders="data_256"), []),
    "lists that are named": (
        lambda root: [path.rename(path.with_name(f"my {path.name}")) for path in imagenet_lt(root).glob("*.txt")],
        ["--train_list", "my ImageNet_LT_train.txt", "--test_list", "my ImageNet_LT_test.txt"],
    ),
}


@pytest.mark.parametrize("name", DATA)
def test_train_evaluate_and_report(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    make, flags = DATA[name]
    make(tmp_path / "images")
    recipe = str(write_recipe(tmp_path, teacher="none", num_train_epochs=2, drw_start_epoch=1, repeats=1))
    finetune.main([recipe, "--dataset", "images", "--output_dir", "out", *flags])
    metrics = json.loads(Path("out/metrics.json").read_text())
    assert metrics["class_counts"] == list(COUNTS)
    assert sum(metrics["last"]["mean"][group] is not None for group in ("head", "mid", "tail")) == 3
    evaluate.main(["out", "images", "--output", "report.json", "--use_cpu", *flags])
    report = json.loads(Path("report.json").read_text())
    assert report["images"] == 3 * TESTED
    assert report["mean"] == pytest.approx(metrics["last"]["mean"], abs=1e-3)
    assert "head/mid/tail: ranks 1, 2, 3" in capsys.readouterr().out


def test_a_run_lists_its_broken_images_and_begins_in_the_same_folder_when_they_are_mended(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    imagenet_lt(tmp_path / "images")
    broken = sorted((tmp_path / "images").glob("train/*/*_1*.JPEG"))[:3]
    contents = [path.read_bytes() for path in broken]
    for path in broken:
        path.write_bytes(b"junk")
    recipe = str(write_recipe(tmp_path, teacher="none", num_train_epochs=1, warmup_epochs=0, drw_start_epoch="none"))
    monkeypatch.setattr(sys, "argv", ["deit-lt", "finetune", recipe, "--dataset=images", "--output_dir=out"])
    with pytest.raises(SystemExit) as end:
        main()
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert end.value.code == 1
    assert line.endswith("(3 such images, listed in out/undecodable_images.tsv)")
    listed = Path("out/undecodable_images.tsv").read_text()
    assert all(str(path) in listed for path in broken)
    for path, content in zip(broken, contents, strict=True):
        path.write_bytes(content)
    main()
    assert Path("out/metrics.json").is_file()
    assert not Path("out/undecodable_images.tsv").exists()
