"""A teacher's folder is a model like the student's: for the commands, for transformers and for timm."""

import functools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import yaml
from helpers import TEACHER, image_tree, picture_dataset, tiny_student
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf
from transformers import ResNetConfig, ResNetForImageClassification, ViTImageProcessor, pipeline

from trainer.augmentation import EvaluationImages, image_processor
from trainer.commands import evaluate
from trainer.commands.classify import classify
from trainer.errors import CheckpointError, TeacherError
from trainer.predicting import predict
from trainer.run import run_teacher, teacher_recipe
from trainer.run.model_folder import open_model
from trainer.teachers import load_teacher

NAMES = ["level0", "level1", "level2"]
# A size at which timm and we would round the resize differently, and both kinds of classifiers and networks.
KINDS = {
    "linear": {"architecture": "resnet8_cifar", "image_size": 20, "crop_ratio": 0.875},
    "cosine": {"architecture": "resnet8_cifar", "image_size": 16, "loss": "ldam"},
    "cosine on timm's": {"architecture": "resnet18", "image_size": 32, "loss": "ldam"},
}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Class folders of images that are neither square nor of any teacher's size."""
    folder = image_tree(tmp_path_factory.mktemp("images"), size=40)
    for path in folder.rglob("*.png"):
        Image.open(path).crop((0, 0, 40, 31)).save(path)
    return folder


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory):
    """The folder of the run of each kind of teacher, when it is first asked for."""

    @functools.cache
    def train(kind):
        folder = tmp_path_factory.mktemp("teacher")
        settings = {**TEACHER, **KINDS[kind], "dataset": str(images), "group_boundaries": [1, 2]}
        (folder / "recipe.yaml").write_text(yaml.safe_dump({**settings, "use_cpu": True, "disable_tqdm": True}))
        run_teacher(teacher_recipe(folder / "recipe.yaml", {"output_dir": str(folder / "out")}))
        return folder / "out"

    return train


@pytest.fixture(params=KINDS)
def teacher(request, trained):
    """The folder of a teacher, of each kind in turn."""
    return trained(request.param)


def example(images):
    return Image.open(next((images / "test" / "level1").iterdir()))


def evaluated(folder, images, output):
    evaluate.main([str(folder), str(images), "--use_cpu", f"--output={output}"])
    return json.loads(output.read_text())


def test_evaluate_repeats_a_teachers_own_test(teacher, images, tmp_path, capsys):
    before = {path: path.stat().st_mtime_ns for path in teacher.rglob("*")}
    report = evaluated(teacher, images, tmp_path / "report.json")
    metrics = json.loads((teacher / "metrics.json").read_text())
    assert report["teacher"] == pytest.approx(metrics["teacher"], abs=1e-3)
    assert report["groups"] == metrics["groups"]
    assert "ranks 1, 2, 3" in report["groups"]
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[:2]] == ["expert", "teacher"]
    assert {path: path.stat().st_mtime_ns for path in teacher.rglob("*")} == before


def test_a_pipeline_scores_as_the_teachers_test(teacher, images):
    """Pixels as its own test prepared them, weights from the file, the data's names, and softmax."""
    pipe = pipeline("image-classification", model=str(teacher))
    scores = pipe(example(images))
    settings = json.loads((teacher / "settings.json").read_text())["settings"]
    own = image_processor(settings["image_size"], settings["crop_ratio"])
    pixels = own(example(images), return_tensors="pt")["pixel_values"]
    assert torch.equal(pipe.image_processor(example(images), return_tensors="pt")["pixel_values"], pixels)
    with torch.no_grad():
        logits = timm.create_model(f"local-dir:{teacher}", pretrained=True).eval()(pixels)
    expected = dict(zip(NAMES, logits[0].softmax(0).tolist(), strict=True))
    assert {row["label"]: row["score"] for row in scores} == pytest.approx(expected, abs=1e-6)
    assert dict(classify(open_model(teacher), example(images))) == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
def test_in_a_new_process_the_import_of_our_teachers_is_enough(trained, images, tmp_path):
    folder, image = trained("cosine"), tmp_path / "example.png"
    example(images).save(image)
    code = (
        "import trainer.teachers; from transformers import pipeline; "
        f"print(pipeline('image-classification', model={str(folder)!r})({str(image)!r})[0]['label'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == classify(open_model(folder), example(images))[0][0]


def as_older_versions_wrote_it(teacher, folder):
    shutil.copytree(teacher, folder)
    (folder / "preprocessor_config.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    del config["image_processor_type"]
    config["model_args"]["num_classes"] = 3
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_a_folder_of_an_older_version_is_a_teacher_and_is_tested(teacher, images, tmp_path):
    """Its images are prepared by timm's transform, which resizes a little differently."""
    old = as_older_versions_wrote_it(teacher, tmp_path / "old")
    batch = torch.randn(2, 3, 32, 32)
    assert torch.equal(load_teacher(str(old), 3)(batch), load_teacher(str(teacher), 3)(batch))
    assert evaluated(old, images, tmp_path / "report.json")["teacher"]["accuracy"] > 50  # chance is 33


def test_hugging_face_classifiers_are_opened_too(tmp_path):
    config = ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], num_labels=3)
    model = ResNetForImageClassification(config).eval()
    model.save_pretrained(tmp_path)
    processor = ViTImageProcessor(size={"height": 16, "width": 16})
    processor.save_pretrained(tmp_path)
    opened, rows = open_model(tmp_path), EvaluationImages(picture_dataset((2, 2, 1)), processor)
    found, _ = predict(opened.model, rows, use_cpu=True)
    with torch.no_grad():
        logits = model(torch.stack([row["pixel_values"] for row in rows.__getitems__(range(5))])).logits
    np.testing.assert_array_equal(found["teacher"].classes, logits.argmax(-1))
    np.testing.assert_allclose(found["teacher"].confidence, logits.softmax(-1).amax(-1), atol=1e-5)
    assert opened.class_names == ["LABEL_0", "LABEL_1", "LABEL_2"]
    with pytest.raises(CheckpointError, match=r"does not say how many .* head, mid and tail need; give"):
        _ = opened.class_counts
    save_file(
        {name: w for name, w in model.state_dict().items() if "classifier" not in name},
        tmp_path / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(TeacherError, match=r"lacks the weights classifier\.1\.bias"):
        open_model(tmp_path)


def test_without_class_counts_nothing_is_reported(tmp_path):
    student = tiny_student(class_counts=None)
    student.save_pretrained(tmp_path / "student")
    image_processor(8).save_pretrained(tmp_path / "student")
    save_for_hf(timm.create_model("resnet8_cifar", num_classes=3), tmp_path / "teacher", safe_serialization=True)
    for name in ("student", "teacher"):
        with pytest.raises(CheckpointError, match="head, mid and tail need"):
            evaluate.main([str(tmp_path / name), "digits", "--use_cpu"])


def without_classifier(weights):
    return {name: weight for name, weight in weights.items() if not name.startswith("fc.")}


def not_finite(weights):
    return {name: weight * float("nan") if weight.is_floating_point() else weight for name, weight in weights.items()}


def of_another_size(weights):
    return {name: weight[..., :1].contiguous() if weight.ndim > 1 else weight for name, weight in weights.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_classifier, r"cannot be loaded \(.*Missing key.*fc\.weight"),
        (not_finite, r"holds weights that are not finite \(conv1\.weight\)"),
        (of_another_size, r"cannot be loaded \(.*size mismatch"),
        ("model.safetensors", "cannot be loaded"),
        ("config.json", "its config.json cannot be read"),
        ("metrics.json", "metrics.json cannot be read"),
    ],
)
def test_a_broken_teacher_is_refused(trained, images, tmp_path, change, message):
    """Neither random weights nor NaN ever answer."""
    folder = Path(shutil.copytree(trained("cosine"), tmp_path / "broken"))
    if isinstance(change, str):
        (folder / change).write_bytes((folder / change).read_bytes()[:50])
    else:
        save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors")
    with pytest.raises((CheckpointError, TeacherError), match=message) as refusal:
        evaluate.main([str(folder), str(images), "--use_cpu"])
    assert "\n" not in str(refusal.value)
