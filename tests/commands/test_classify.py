"""Images through a model folder, and folders that are none."""

import shutil

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import pipeline

from trainer.commands import classify, evaluate
from trainer.errors import CheckpointError, DataError, SettingError


def test_classify_prints_what_a_pipeline_scores(finished, capsys):
    folder, image = finished[0] / "out", finished[0] / "out" / "example.png"
    classify.main([str(folder), str(image)])
    scores = pipeline("image-classification", model=str(folder))(str(image))
    assert {row["label"] for row in scores} == {"level0", "level1", "level2"}
    assert capsys.readouterr().out.splitlines() == [f"{row['score']:7.1%}  {row['label']}" for row in scores]


def test_several_images_are_named_and_top_cuts_the_list(finished, capsys):
    model, images = finished[0] / "out", sorted(map(str, (finished[0] / "images" / "test" / "level0").iterdir()))
    classify.main([str(model), *images, "--top=2"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[::3] == images
    classify.main([str(model), images[1], "--top=2"])
    assert capsys.readouterr().out.splitlines() == lines[4:6]


def test_a_runs_teacher_classifies_too(finished, capsys):
    (teacher,) = (finished[0] / "teachers").iterdir()
    classify.main([str(teacher), str(finished[0] / "out" / "example.png")])
    assert {line.split()[-1] for line in capsys.readouterr().out.splitlines()} == {"level0", "level1", "level2"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["MODEL"], "required: IMAGE"),
        (["MODEL", "a.png", "--topp=3"], "unknown argument --topp=3; did you mean --top?"),
        (["MODEL", "a.png", "--top=0"], "top must lie in"),
    ],
)
def test_usage(words, message):
    with pytest.raises(SettingError) as refusal:
        classify.main(words)
    assert message in str(refusal.value)


def test_classify_says_what_is_missing(finished, tmp_path):
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        classify.main([str(tmp_path), "any.png"])
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(DataError, match=r"text\.png cannot be read as an image \(\S[^\n]*\)"):
        classify.main([str(finished[0] / "out"), str(tmp_path / "text.png")])
    with pytest.raises(DataError, match=r"x\.invalid/a\.png cannot be read as an image"):
        classify.main([str(finished[0] / "out"), "http://x.invalid/a.png"])
    with pytest.raises(DataError, match=r"there is no image .*nowhere\.png"):
        classify.main([str(finished[0] / "out"), str(tmp_path / "nowhere.png")])


def test_a_decompression_bomb_is_one_line(finished, tmp_path, monkeypatch):
    """Twice Pillow's limit of pixels is its error."""
    Image.new("RGB", (60, 60)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DataError, match="cannot be read as an image"):
        classify.main([str(finished[0] / "out"), str(tmp_path / "large.png")])


@pytest.mark.parametrize("command", [classify, evaluate])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: {k: v for k, v in weights.items() if "distillation_classifier" not in k}, "does not hold"),
        (lambda weights: {k: v * float("nan") for k, v in weights.items()}, "not finite"),
        (lambda weights: {k: v[..., :1].contiguous() for k, v in weights.items()}, "does not hold|cannot be loaded"),
        (None, "cannot be loaded"),
    ],
)
def test_a_broken_model_is_refused_by_all_commands(finished, tmp_path, command, change, message):
    """Neither random weights nor NaN ever answer."""
    folder = tmp_path / "model"
    shutil.copytree(finished[0] / "out", folder, ignore=shutil.ignore_patterns("checkpoint*"))
    file = folder / "model.safetensors"
    if change is None:
        file.write_bytes(file.read_bytes()[:100])
    else:
        save_file(change(load_file(file)), file, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=message) as refusal:
        command.main([str(folder), str(finished[0] / "out" / "example.png")])
    assert "\n" not in str(refusal.value)


def test_without_its_image_processor_a_model_is_refused(finished, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(finished[0] / "out", folder, ignore=shutil.ignore_patterns("checkpoint*", "preprocessor*"))
    with pytest.raises(CheckpointError, match="has no image processor"):
        classify.main([str(folder), str(finished[0] / "out" / "example.png")])
