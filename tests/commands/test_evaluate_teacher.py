"""The command that measures a teacher, on a tiny recipe."""

import json
from pathlib import Path

import pytest
from helpers import image_tree, write_recipe

from trainer.commands import evaluate_teacher
from trainer.errors import SettingError, TeacherError


def test_from_a_recipe_to_a_table_and_a_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    images = str(image_tree(tmp_path / "images"))
    recipe = write_recipe(tmp_path, dataset=images, output_dir="student", mixing_probability=0.5)
    evaluate_teacher.main([str(recipe), "--num_images=40"])
    printed = capsys.readouterr().out
    for text in ("Training the teacher", "macro F1", "plain", "augmented", "mixed", "Table 1", "ranks 1, 2, 3"):
        assert text in printed
    found = json.loads(Path("runs/evaluate_teacher_recipe/teacher.json").read_text())
    assert found["own_test"]["accuracy"] > 50
    assert found["test"]["teacher"]["accuracy"] == found["own_test"]["accuracy"]  # this teacher has the student's size
    assert {view: figures["images"] for view, figures in found["training"].items()} == dict.fromkeys(
        ("plain", "augmented", "mixed"), 40
    )
    assert found["class_counts"] == [12, 8, 6]
    assert (found["mixing_probability"], found["image_size"], found["teacher_image_size"]) == (0.5, 8, 8)
    assert not Path("student").exists()

    # Beside it the same teacher is reused, whatever lies there, and gives the same figures.
    Path("runs/mine").mkdir()
    Path("runs/mine/note").write_text("kept")
    evaluate_teacher.main([str(recipe), "--num_images=40", "--output_dir=runs/mine"])
    assert "Training the teacher" not in capsys.readouterr().out
    assert sorted(path.name for path in Path("runs/mine").iterdir()) == ["note", "teacher.json"]
    assert json.loads(Path("runs/mine/teacher.json").read_text()) == found


def test_a_recipe_without_a_teacher_is_refused(tmp_path):
    with pytest.raises(TeacherError, match="names no teacher; give one with --teacher"):
        evaluate_teacher.main([str(write_recipe(tmp_path)), "--teacher=none"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.yaml"], "there is no recipe nowhere.yaml"),
        (["RECIPE", "--num_images=0"], "num_images must lie in"),
        (["RECIPE", "--num_image=5"], "did you mean --num_images?"),
    ],
)
def test_usage(tmp_path, words, message):
    recipe = str(write_recipe(tmp_path))
    with pytest.raises(SettingError) as refusal:
        evaluate_teacher.main([recipe if word == "RECIPE" else word for word in words])
    assert message in str(refusal.value)
