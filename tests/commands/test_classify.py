"""One image through a model folder, and folders that are none."""

import shutil

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from trainer.commands import classify, evaluate
from trainer.errors import CheckpointError, DataError


def test_classify_prints_the_classes(finished, capsys):
    classify.main([str(finished[0] / "out"), str(finished[0] / "out" / "example.png")])
    printed = capsys.readouterr().out
    assert {line.split()[-1] for line in printed.splitlines()} == {"level0", "level1", "level2"}


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
