"""Images of one channel of 16 bits and of eight channels: trained, saved, and scored by the folder alone."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers import command, write_recipe
from PIL import Image
from transformers import pipeline

from trainer.commands import classify, evaluate, evaluate_teacher, flatness
from trainer.data import PixelFormat
from trainer.errors import DataError, TeacherError
from trainer.run import finetune
from trainer.teachers import load_teacher

COUNTS = {"train": (14, 9, 7), "test": (6, 6, 6)}
BY_THE_FOLDER_ALONE = """
import sys, json, pathlib
sys.modules["modeling_deit_lt"] = sys.modules["trainer"] = None
from transformers import AutoImageProcessor, AutoModelForImageClassification
model = AutoModelForImageClassification.from_pretrained("out", trust_remote_code=True).eval()
processor = AutoImageProcessor.from_pretrained("out", trust_remote_code=True)
right, scores = 0, {}
files = sorted(path for path in pathlib.Path("images/test").glob("*/*"))
for file in files:
    shares = model(**processor(file, return_tensors="pt")).logits[0].softmax(-1)
    scores[str(file)] = shares.max().item()
    right += model.config.id2label[shares.argmax().item()] == file.parent.name
print(json.dumps({"accuracy": 100 * right / len(files), "scores": scores}))
"""


def deep_images(folder, channels, ending):
    """Files of 12 bits in 16, whose classes differ by their first channel's brightness."""
    rng = np.random.default_rng(0)
    for split, counts in COUNTS.items():
        for label, count in enumerate(counts):
            (folder / split / f"class{label}").mkdir(parents=True)
            for index in range(count):
                bands = rng.integers(0, 1365, (10, 8, channels), dtype=np.uint16)
                bands[..., 0] += 1365 * label
                pages = [Image.fromarray(band) for band in bands.transpose(2, 0, 1)]
                file = folder / split / f"class{label}" / f"{index}{ending}"
                pages[0].save(file, **({"save_all": True, "append_images": pages[1:]} if channels > 1 else {}))


@pytest.fixture(scope="module", params=[(1, ".png"), (8, ".tif")], ids=["1 x 16 bits", "8 x 16 bits"])
def run(request, tmp_path_factory):
    channels, ending = request.param
    folder = tmp_path_factory.mktemp("channels")
    deep_images(folder / "images", channels, ending)
    recipe = write_recipe(folder, dataset=str(folder / "images"), num_channels=channels, train_transform="paper")
    done = command("finetune", recipe, "--output_dir", "out", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, channels, done.stdout


def test_the_folder_alone_scores_as_the_trainer_did(run, monkeypatch, capsys):
    folder, _, _ = run
    environment = {**os.environ, "HF_HOME": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", BY_THE_FOLDER_ALONE], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    metrics = json.loads((folder / "out" / "metrics.json").read_text())
    assert found["accuracy"] == pytest.approx(metrics["last"]["mean"]["accuracy"])
    monkeypatch.chdir(folder)
    for file, score in list(found["scores"].items())[::5]:
        classify.main(["out", file, "--top=1"])
        assert capsys.readouterr().out.split()[0] == f"{score:.1%}"


def test_evaluate_says_what_the_run_said(run, monkeypatch):
    folder, _, _ = run
    monkeypatch.chdir(folder)
    evaluate.main(["out", "images", "--output", "again.json", "--use_cpu"])
    again = json.loads((folder / "again.json").read_text())
    assert again["dist"] == pytest.approx(json.loads((folder / "out" / "metrics.json").read_text())["last"]["dist"])


def test_the_banner_says_what_the_images_are_and_what_is_left_out(run):
    _, channels, told = run
    told = " ".join(told.split())
    assert f"images {channels} channel" in told
    assert "of 12 bits, mean 0." in told
    assert "paper without RandAugment's Color" in told
    assert "augmented on the device" in told


def test_the_model_card_shows_how_they_are_read(run):
    folder, _, _ = run
    card = (folder / "out" / "README.md").read_text()
    assert "pipeline(" not in card
    assert "AutoImageProcessor.from_pretrained(" in card


def test_the_teacher_opens_with_all_its_weights(run):
    folder, channels, _ = run
    (saved,) = (folder / "teachers").iterdir()
    pixels = json.loads((saved / "preprocessor_config.json").read_text())
    assert (pixels["num_channels"], pixels["bits"]) == (channels, 12)
    images = torch.randn(2, channels, 8, 8)
    same = PixelFormat(channels, 12, tuple(pixels["image_mean"]), tuple(pixels["image_std"]))
    first, second = (load_teacher(str(saved), 3, pixels=same)(images) for _ in range(2))
    assert torch.equal(first, second)  # a layer that timm cannot load is left as it was drawn


def test_the_example_can_be_classified_by_model_and_teacher(run, monkeypatch, capsys):
    folder, channels, _ = run
    example = "out/example.png" if channels == 1 else "out/example.npy"
    monkeypatch.chdir(folder)
    (teacher,) = (folder / "teachers").iterdir()
    for model in ("out", str(teacher)):
        classify.main([model, example])
        assert {line.split()[-1] for line in capsys.readouterr().out.splitlines()} <= {"class0", "class1", "class2"}


def test_a_pipeline_is_told_that_it_loses_the_depth(run):
    folder, channels, _ = run
    if channels == 1:
        with pytest.raises(ValueError, match="give the processor the path of the file"):
            pipeline("image-classification", model=str(folder / "out"))(str(folder / "out" / "example.png"))


def test_a_teacher_is_measured_on_the_same_images(run, monkeypatch):
    folder, channels, _ = run
    (teacher,) = (folder / "teachers").iterdir()
    monkeypatch.chdir(folder)
    short = ["--images_per_class=4", "--draws=2", "--radii", "0.2", "--use_cpu", "--output=flat"]
    flatness.main(["recipe.yaml", "--teachers", str(teacher), *short])
    figures = json.loads((folder / "flat" / "flatness.json").read_text())
    assert figures["data"]["num_channels"] == channels
    evaluate_teacher.main(["recipe.yaml", "--teacher", str(teacher), "--num_images=14", "--output_dir=measured"])
    measured = json.loads((folder / "measured" / "teacher.json").read_text())
    accuracy = json.loads((teacher / "metrics.json").read_text())["teacher"]["accuracy"]
    assert measured["test"]["teacher"]["accuracy"] == pytest.approx(accuracy)


def test_an_image_of_other_channels_is_one_line(run):
    folder, channels, _ = run
    np.save(folder / "other.npy", np.zeros((8, 8, 5), np.uint8))
    with pytest.raises(DataError, match=rf"other\.npy cannot be read .*not \(height, width, {channels}\)"):
        classify.main([str(folder / "out"), str(folder / "other.npy")])


def test_teachers_of_other_channels_are_refused_before_the_data_are_read(run, tmp_path):
    folder, channels, _ = run
    (teacher,) = (folder / "teachers").iterdir()
    recipe = write_recipe(tmp_path, dataset="nowhere", teacher=str(teacher), output_dir=str(tmp_path / "out"))
    with pytest.raises(TeacherError, match=f"takes images of {channels} channels, num_channels is 3"):
        finetune(recipe)
