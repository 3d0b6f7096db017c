"""Recipes: what wins over what, which texts are which values, and that all shipped ones can be read."""

from pathlib import Path

import pytest
from helpers import write_recipe

from trainer.errors import SettingError
from trainer.recipe_files import RECIPES
from trainer.run.dry_run import dry_run_student
from trainer.run.recipes import student_recipe, teacher_recipe
from trainer.run.teacher import plan_teacher

CPU = {"use_cpu": True}


def test_every_recipe_can_be_read():
    """All keys and values are known, and a teacher recipe that is named is there."""
    paths = list(RECIPES.glob("*.yaml"))
    assert len(paths) == 19
    for path in paths:
        recipe = student_recipe(path, CPU)
        assert recipe.teacher.name == Path(recipe.training.teacher).stem
    for path in RECIPES.glob("teachers/*.yaml"):
        assert teacher_recipe(path, CPU).training.output_dir == f"runs/teachers/{path.stem}"


def test_the_cifar_recipes_have_the_published_peak_rate_and_batch():
    """2.5e-4 at 1024 images per step (official scripts), DRW for the last 100 of 1,200 epochs without mixing."""
    paths = list(RECIPES.glob("cifar*_rho*.yaml"))
    assert len(paths) == 6
    for path in paths:
        args = student_recipe(path, CPU).training
        assert args.global_batch_size == 1024
        assert args.peak_learning_rate == pytest.approx(2.5e-4)
        assert (args.num_train_epochs, args.drw_start_epoch, args.drw_mixing) == (1200, 1100, False)
        assert (args.drw_mean, args.drop_partial_batches) == ("micro_batch", True)


@pytest.mark.parametrize("name", ["imagenet_lt_small", "cifar10_lt_rho100", "planktonset_cpu"])
def test_a_recipe_and_its_teacher_can_be_built(name, monkeypatch):
    """As far as a run goes before it reads images; of ViT-S and ResNet-50 too, on a machine without a GPU."""
    small = {} if name == "planktonset_cpu" else {"preset": "tiny", "image_size": 32}
    recipe = student_recipe(name, {**CPU, "precision": "float32", "per_device_train_batch_size": 2, **small})
    assert plan_teacher(recipe).recipe is recipe.teacher
    dry_run_student(recipe)


@pytest.mark.parametrize(
    ("name", "epochs", "drw", "boundaries"),
    [
        ("imagenet_lt", 1400, 1200, "imagenet_lt"),
        ("inaturalist2018", 1000, 900, "inaturalist2018"),
        ("places_lt", 1400, 1200, (131, 294)),
    ],
)
def test_the_large_recipes_have_the_published_rate_batch_and_epochs(monkeypatch, name, epochs, drw, boundaries):
    """5e-4 at 2,048 images per step of 4 GPUs or 8 (official scripts), mixing in DRW; on one GPU with a ViT-S."""
    for recipe, accumulation, ranks in ((name, 4, 4), (name, 2, 8), (f"{name}_small", 8, 1)):
        monkeypatch.setattr("trainer.arguments.DistillationArguments.world_size", ranks)
        read = student_recipe(recipe, {**CPU, "gradient_accumulation_steps": accumulation})
        args = read.training
        assert args.global_batch_size == 2048
        assert args.peak_learning_rate == pytest.approx(5e-4)
        assert (args.num_train_epochs, args.drw_start_epoch, args.drw_mixing) == (epochs, drw, True)
        assert read.model.preset == ("base" if ranks > 1 else "small")
        assert read.data.boundaries == boundaries
        assert read.teacher.training.loss == "paco"
        assert read.teacher.training.sam_rho == [0.05]


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("save_strategy: no", "save_strategy", "no"),  # YAML's own reading is False
        ("base_learning_rate: 1e-3", "base_learning_rate", 1e-3),  # and here a word
        ("drw_start_epoch: none", "drw_start_epoch", None),
        ("drw_start_epoch: null", "drw_start_epoch", None),
        ("drw_start_epoch:", "drw_start_epoch", None),
        ("teacher: None", "teacher", None),
        ("bf16: off", "bf16", False),
        ("seed: 07", "seed", 7),
        ("report_to: [tensorboard, wandb]", "report_to", ["tensorboard", "wandb"]),
        ("optim_args: none", "optim_args", None),
        (
            "lr_scheduler_type: cosine_with_min_lr\nlr_scheduler_kwargs: {min_lr: 1e-5}",
            "lr_scheduler_kwargs",
            {"min_lr": 1e-5},
        ),
    ],
)
def test_texts_are_values_of_their_settings_types(tmp_path, line, name, value):
    path = tmp_path / "recipe.yaml"
    path.write_text(f"{line}\n")
    assert getattr(student_recipe(path, CPU).training, name) == value


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("seed: 1.5", "seed must be a whole number, got 1.5"),
        ("seed: [1]", r"seed must be a whole number, got \['1'\]"),
        ("seed: true", "seed must be a whole number, got true"),
        ("alpha: {a: 1}", "alpha must be a number"),
        ("group_boundaries: {a: 1}", "group_boundaries must be a word, or several, got"),
        ("lr_scheduler_kwargs: [1]", "lr_scheduler_kwargs must be a JSON object or a word, got"),
        ("alpha: nan", r"alpha must lie in \[0, 1\], got nan"),
        ("preset: huge", "preset must be one of tiny, small, base, got huge"),
        ("lr_scheduler_type: bogus", "bogus"),
        ("- a list", "must hold `key: value` lines"),
        ("alpha: [", "is not valid YAML"),
        ("alhpa: 1", "unknown key alhpa; did you mean alpha"),
    ],
)
def test_wrong_lines_are_one_line(tmp_path, line, message):
    path = tmp_path / "recipe.yaml"
    path.write_text(f"{line}\n")
    with pytest.raises(SettingError, match=message) as refusal:
        student_recipe(path, CPU)
    assert "\n" not in str(refusal.value)


def test_a_teacher_takes_over_seed_and_device_but_not_precision(tmp_path):
    path = write_recipe(tmp_path, seed=5, bf16=True, dataloader_num_workers=3)
    teacher = student_recipe(path).teacher.training
    assert (teacher.seed, teacher.use_cpu, teacher.mixed_precision, teacher.dataloader_num_workers) == (
        5,
        True,
        "no",
        3,
    )


def test_the_card_names_a_teacher_without_where_it_lies(tmp_path):
    path = write_recipe(tmp_path)
    names = {"teacher.yaml": "teacher", str(tmp_path): tmp_path.name, "nobody/vit": "nobody/vit", "none": None}
    for given, name in names.items():
        assert student_recipe(path, {"teacher": given}).changed.get("teacher") == name


def test_what_is_asked_follows_the_teachers_recipe_but_not_its_comments(tmp_path):
    path = write_recipe(tmp_path)
    asked = student_recipe(path).asked
    teacher = tmp_path / "teacher.yaml"
    teacher.write_text("# a remark\n" + teacher.read_text())
    assert student_recipe(path).asked == asked
    teacher.write_text(teacher.read_text() + "momentum: 0.8\n")
    assert student_recipe(path).asked != asked
    assert student_recipe(path, {"teacher": "none"}).asked["teacher"] is None


def test_an_unknown_setting_from_python_is_refused_too(tmp_path):
    with pytest.raises(SettingError, match="unknown key alhpa; did you mean alpha"):
        student_recipe(write_recipe(tmp_path), {"alhpa": 0.1})
