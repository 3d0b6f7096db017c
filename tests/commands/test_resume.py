"""A run that is taken up again, and folders that are not its own."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from helpers import write_recipe

from trainer.commands import finetune
from trainer.errors import CheckpointError, RunError
from trainer.run import student_recipe
from trainer.run.data import prepare_data


def test_a_folder_with_something_in_it_is_refused(finished, refused, monkeypatch):
    monkeypatch.chdir(finished[0])
    code, told = refused("finetune", "recipe.yaml", "--output_dir", "out")
    assert code == 1
    assert told.strip().splitlines()[-1].startswith("error: output folder out is not empty")
    assert "--resume" not in told  # it is complete


def test_a_finished_run_resumes_to_the_same_figures(finished, monkeypatch, capsys):
    """The last checkpoint of the run, taken up again, gives the same report."""
    monkeypatch.chdir(finished[0])
    shutil.copytree("out", "resumed")
    words = ["recipe.yaml", "--output_dir=resumed", "--alpha=0.25", "--resume_from_checkpoint=true"]
    with pytest.raises(RunError, match="the run in resumed is complete"):
        finetune.main(words)
    Path("resumed/metrics.json").unlink()
    Path("resumed/checkpoint-12/trainer_state.json").unlink()  # killed while it was saved
    finetune.main(words)
    assert json.loads(Path("resumed/metrics.json").read_text())["resumed_from_step"] == 11
    printed = finished[1].stdout, capsys.readouterr().out
    first, second = (text.split("expert ")[1].split("The model is")[0] for text in printed)
    assert first == second


# What differs, and how the refusal names it.
OTHERS = [
    (["--num_train_epochs=4"], r"num_train_epochs 3\.0, now 4\.0"),
    (["--per_device_train_batch_size=8"], "train_batch_size of all ranks 7, now 8"),
    (["--gradient_accumulation_steps=2"], "gradient_accumulation_steps 1, now 2"),
    (["--hidden_size=32", "--num_attention_heads=4"], "hidden_size 16, now 32; num_attention_heads 2, now 4"),
    (["--ema_decay=0"], r"ema_decay 0\.9999, now 0\.0"),
    (["--seed=1"], "seed 0, now 1; teacher's seed 0, now 1"),
    (["--base_learning_rate=0.1"], r"base_learning_rate 0\.0005, now 0\.1"),
    (["--train_transform=paper"], "train_transform affine, now paper"),
    (["--drw_start_epoch=1"], "drw_start_epoch 2, now 1"),
    (["--rho=1"], r"rho None, now 1\.0"),
    (["--teacher=none"], "teacher a recipe, now None"),
    (["--teacher=other.yaml"], "teacher's learning_rate 0.1, now 0.2"),
    (["--group_boundaries", "1", "2"], r"group_boundaries \[\], now \['1', '2'\]"),
    (
        ["--model_selection=validation"],
        "model_selection last, now validation; save_strategy unknown, now steps; save_steps unknown, now 0.05",
    ),
]


@pytest.fixture
def unfinished(finished, tmp_path, monkeypatch):
    """A copy of the run, as if it had been killed after its checkpoint 11."""
    shutil.copytree(finished[0], tmp_path / "work", ignore=shutil.ignore_patterns("images"))
    (tmp_path / "work" / "images").symlink_to(finished[0] / "images")
    monkeypatch.chdir(tmp_path / "work")
    Path("out/metrics.json").unlink()
    shutil.rmtree("out/checkpoint-12")
    teacher = yaml.safe_load(Path("teacher.yaml").read_text())
    Path("other.yaml").write_text(yaml.safe_dump({**teacher, "learning_rate": 0.2}))
    return Path("out")


@pytest.mark.parametrize(("flags", "message"), OTHERS)
def test_other_settings_are_refused_by_their_names(unfinished, refused, flags, message):
    before = sorted(unfinished.rglob("*"))
    for folder, resume in (("out", "true"), ("out", "out/checkpoint-11"), ("new", "out/checkpoint-11")):
        places = [f"--output_dir={folder}", f"--resume_from_checkpoint={resume}"]
        code, told = refused("finetune", "recipe.yaml", "--alpha=0.25", *flags, *places)
        assert code == 1, told
        line = told.strip().splitlines()[-1]
        assert re.search(rf"was begun with other settings \({message}\); go on with the same", line), line
    assert sorted(unfinished.rglob("*")) == before


def test_what_only_says_how_a_run_is_watched_may_change(unfinished):
    flags = ["--alpha=0.25", "--logging_steps=3", "--save_total_limit=1", "--dataloader_num_workers=1", "--quiet"]
    finetune.main(["recipe.yaml", "--output_dir=out", *flags, "--resume_from_checkpoint=true"])
    assert json.loads(Path("out/metrics.json").read_text())["resumed_from_step"] == 11


def corrected(folder):
    """One image under another label."""
    image = next((folder / "train" / "level0").iterdir())
    image.rename(folder / "train" / "level1" / "corrected.png")


def renamed(folder):
    for split in ("train", "test"):
        (folder / split / "level2").rename(folder / split / "level9")


def fewer(folder):
    next((folder / "train" / "level0").iterdir()).unlink()


@pytest.mark.parametrize("change", [corrected, renamed, fewer])
def test_other_data_are_refused(unfinished, refused, change):
    images = Path("images").resolve()
    Path("images").unlink()
    shutil.copytree(images, "images")
    recipe = yaml.safe_load(Path("recipe.yaml").read_text())
    settings = json.loads((unfinished / "settings.json").read_text())
    settings["settings"]["dataset"] = recipe["dataset"] = "images"
    Path("recipe.yaml").write_text(yaml.safe_dump(recipe))
    settings["data"] = prepare_data(student_recipe("recipe.yaml").data, student_recipe("recipe.yaml").training).digest
    (unfinished / "settings.json").write_text(json.dumps(settings))
    change(Path("images"))
    code, told = refused(
        "finetune", "recipe.yaml", "--output_dir=out", "--alpha=0.25", "--resume_from_checkpoint=true"
    )
    assert code == 1
    assert "was begun with other images, labels or class names; restore them" in told


def test_a_run_whose_first_checkpoint_rotates_away_ends_with_its_report(finished, monkeypatch):
    """Of the checkpoint that it was resumed from nothing is left at the end."""
    monkeypatch.chdir(finished[0])
    shutil.copytree("out/checkpoint-11", "rotated/checkpoint-11")
    shutil.copy("out/settings.json", "rotated")
    flags = ["--alpha=0.25", "--save_total_limit=1", "--resume_from_checkpoint=true"]
    finetune.main(["recipe.yaml", "--output_dir=rotated", *flags])
    assert [path.name for path in Path("rotated").glob("checkpoint-*")] == ["checkpoint-12"]
    metrics, whole = (json.loads(Path(run, "metrics.json").read_text()) for run in ("rotated", "out"))
    assert metrics["resumed_from_step"] == 11
    assert metrics["last"] == whole["last"]


def test_resuming_from_nothing_says_so(tmp_path):
    recipe = write_recipe(tmp_path)
    with pytest.raises(CheckpointError, match=r"there is no run in .*new to resume"):
        finetune.main([str(recipe), f"--output_dir={tmp_path / 'new'}", "--resume_from_checkpoint=true"])
    with pytest.raises(CheckpointError, match=r"has no trainer_state\.json"):
        finetune.main([str(recipe), f"--output_dir={tmp_path / 'new'}", f"--resume_from_checkpoint={tmp_path}"])
