"""The README's Python runs as it stands, on a smaller student, for an epoch or two."""

import re
from pathlib import Path

import pytest
import torch
from helpers import image_tree, picture_dataset
from timm import create_model
from timm.models import save_for_hf
from transformers import pipeline

from trainer.teachers import cifar_resnet  # noqa: F401  (registers the teacher's architecture)

README = (Path(__file__).parents[1] / "README.md").read_text()
TRAINER, RECIPE, PIPELINE = re.findall(r"```python\n(.*?)```", README, re.S)


def run(code, *replacements):
    """Run code of the README with replacements, each of which must be in it; returns its names."""
    for long, short in replacements:
        assert long in code
        code = code.replace(long, short)
    names = {}
    exec(code, names)
    return names


def test_four_objects_and_the_pipeline(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    image_tree(tmp_path / "path" / "to" / "images", counts=(6, 4, 2))
    torch.manual_seed(0)
    save_for_hf(create_model("resnet8_cifar", num_classes=3), "runs/teachers/mine", safe_serialization=True)
    short = "num_train_epochs=1, drw_start_epoch=0, warmup_epochs=0, use_cpu=True, disable_tqdm=True"
    names = run(TRAINER, ('"small"', '"tiny"'), ("num_train_epochs=600, drw_start_epoch=540", short))
    assert names["trainer"].model.config.class_counts == [6, 4, 2]
    tail = float(capsys.readouterr().out.splitlines()[-1])
    assert names["trainer"].evaluate()["eval_mean_tail"] == pytest.approx(tail)
    picture_dataset((1,))[0]["image"].save("image.png")
    assert 'pipeline("image-classification", model="runs/mine", trust_remote_code=True)("image.png")' in PIPELINE
    scores = pipeline("image-classification", model="runs/mine")("image.png")  # imported already, so not asked
    assert {score["label"] for score in scores} == {"level0", "level1", "level2"}


def test_a_whole_run_from_a_recipe(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    short = "seed=1, teacher='none', num_train_epochs=1, drw_start_epoch=0, warmup_epochs=0, use_cpu=True"
    names = run(RECIPE, ("seed=1", f"{short}, dataloader_num_workers=0, disable_tqdm=True"))
    folder, tail, parameters = capsys.readouterr().out.splitlines()[-1].split()
    assert folder == "runs/digits"
    assert 0 <= float(tail) <= 100
    assert int(parameters) == names["run"].model.num_parameters()
    assert Path(folder, "metrics.json").is_file()
