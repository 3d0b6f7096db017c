"""The README's Python runs as it stands, on a smaller student and for one epoch."""

import re
from pathlib import Path

import pytest
import torch
from helpers import image_tree, picture_dataset
from timm import create_model
from timm.models import save_for_hf
from transformers import pipeline

from trainer.augmentation import EvaluationImages, image_processor
from trainer.teachers import cifar_resnet  # noqa: F401  (registers the teacher's architecture)

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_from_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image_tree(tmp_path / "path" / "to" / "images", counts=(6, 4, 3))
    torch.manual_seed(0)
    save_for_hf(create_model("resnet8_cifar", num_classes=3), "runs/teachers/mine", safe_serialization=True)
    train, _, use = re.findall(r"```python\n(.*?)```", README, re.S)
    for long, short in (
        ('"small"', '"tiny", image_size=32'),
        ("num_train_epochs=600, drw_start_epoch=540", "num_train_epochs=6, drw_start_epoch=5, use_cpu=True"),
        ("224", "32"),
    ):
        assert long in train
        train = train.replace(long, short)
    names = {}
    exec(train, names)
    predicted = names["trainer"].predict(EvaluationImages(names["data"]["test"], image_processor(32)))
    right = predicted.predictions[0].argmax(-1) == predicted.label_ids
    assert names["report"]["mean"]["accuracy"] == pytest.approx(100 * right.mean())
    picture_dataset((1,))[0]["image"].save("image.png")
    assert 'pipeline("image-classification", model="runs/mine", trust_remote_code=True)("image.png")' in use
    scores = pipeline("image-classification", model="runs/mine")("image.png")
    assert len(scores) == 3


def test_every_command_and_recipe_named_is_there():
    root = Path(__file__).parents[1]
    for name in set(re.findall(r"scripts/[\w./]+\.(?:py|yaml|svg)", README)):
        assert (root / name).is_file(), name
    recipes = {path.stem for path in (root / "trainer" / "recipes").rglob("*.yaml")}
    for row in re.findall(r"^\| (`.*?) \|", README.split("## Recipes")[1].split("##")[0], re.M):
        for name in re.findall(r"`(\w*[a-z0-9]_\w*\*?\w*)`", row):
            parts = name.split("*")
            found = [r for r in recipes if r.startswith(parts[0]) and r.endswith(parts[-1])]
            assert found or any(r.endswith(name) for r in recipes), name
