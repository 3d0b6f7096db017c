"""Command lines: flags stand anywhere, unknown ones are named, help ends with 0."""

import sys

import pytest
from helpers import write_recipe

from trainer.arguments import DataArguments, DistillationArguments, ModelArguments
from trainer.commands import (
    benchmark,
    check_data,
    classify,
    compare,
    compare_teachers,
    evaluate,
    evaluate_teacher,
    finetune,
    flatness,
    recipes,
    to_parquet,
)
from trainer.commands import train_teacher as train_teacher_command
from trainer.commands.__main__ import COMMANDS as NAMES
from trainer.commands.__main__ import main as entry
from trainer.commands.parser import CommandParser
from trainer.errors import SettingError
from trainer.recipe_files import shipped_recipes
from trainer.run.recipes import student_recipe

COMMANDS = [
    *(finetune, train_teacher_command, evaluate, evaluate_teacher, flatness, compare, compare_teachers, classify),
    *(recipes, benchmark, check_data, to_parquet),
]


def parse(*words):
    """A student's recipe from a command line."""
    parser = CommandParser("", "", ModelArguments, DataArguments, DistillationArguments, words=finetune.WORDS)
    return student_recipe(*parser.parse([str(word) for word in words]))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--alhpa", "0.3"], "unknown argument --alhpa; did you mean --alpha?"),
        (["--preset", "huge"], "preset must be one of tiny, small, base, got huge"),
        (["--num_train_epochs", "many"], "num_train_epochs must be a number, got many"),
        (["--num-train-epochs", "many"], "num_train_epochs must be a number, got many"),
        (["--drw_start_epoch", "9"], "drw_start_epoch 9 lies outside the 3 epochs"),
        (["--group_boundaries", "3", "x"], "two whole ranks"),
        (["--hidden_size=0"], "hidden_size must lie in"),
        (["--seed=4294967296"], "seed must lie in"),
        (["--bf16=perhaps"], "bf16 must be true or false, got perhaps"),
        (["second.yaml"], "unknown argument second.yaml"),
    ],
)
def test_wrong_flags_are_named(tmp_path, words, message):
    with pytest.raises(SettingError) as refusal:
        parse(write_recipe(tmp_path), *words)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_missing_recipe_names_the_closest():
    for name in ("digit_lt", "digit_lt.yaml"):
        with pytest.raises(SettingError, match=rf"there is no recipe {name}; did you mean digits_lt\?"):
            parse(name)
    with pytest.raises(SettingError, match=r"there is no recipe elsewhere/digits_lt\.yaml"):
        parse("elsewhere/digits_lt.yaml")


def test_a_shipped_recipe_is_named_by_its_stem():
    assert parse("digits_lt").asked == parse("digits_lt.yaml").asked


def test_the_list_of_recipes_has_a_line_for_each_and_prints_one_to_copy(capsys):
    recipes.main([])
    told = capsys.readouterr().out
    for kind in ("students", "teachers"):
        assert all(f"  {stem}: " in told for stem in shipped_recipes(kind))
    recipes.main(["digits_lt"])
    assert capsys.readouterr().out == shipped_recipes()["digits_lt"].read_text()


def test_every_command_is_listed_and_an_unknown_one_names_the_closest(monkeypatch, capsys):
    assert sorted(NAMES) == sorted(module.__name__.rsplit(".", 1)[1].replace("_", "-") for module in COMMANDS)
    monkeypatch.setattr(sys, "argv", ["deit-lt", "finetun"])
    with pytest.raises(SystemExit) as end:
        entry()
    assert end.value.code == 2
    assert capsys.readouterr().err == "error: there is no command finetun; did you mean finetune?\n"
    monkeypatch.setattr(sys, "argv", ["deit-lt"])
    entry()
    told = capsys.readouterr().out
    assert all(f"  {name} " in told for name in NAMES)
    assert max(map(len, told.splitlines())) <= 110


@pytest.mark.parametrize(
    "before",
    [
        ["--alpha=0.2", "--seed", "3", "--bf16=false"],
        ["--alpha", "0.2", "--bf16=no", "--seed=3"],
    ],
)
def test_flags_before_the_recipe_are_flags_and_the_recipe_is_read(tmp_path, before):
    path = write_recipe(tmp_path, alpha=0.3)
    first, last = parse(*before, path), parse(path, *before)
    assert first.model.hidden_size == last.model.hidden_size == 16
    assert first.asked == last.asked
    assert (first.training.alpha, first.training.seed) == (0.2, 3)


def test_a_flag_wins_over_the_recipe_and_the_recipe_over_the_default(tmp_path):
    recipe = parse(write_recipe(tmp_path, alpha=0.3), "--alpha", "0.2")
    args = recipe.training
    assert (args.alpha, recipe.model.hidden_size, recipe.data.rho, args.temperature) == (0.2, 16, None, 1.0)
    assert args.output_dir == "runs/recipe"


def test_an_unknown_key_exits_with_2_and_names_the_closest(tmp_path, refused):
    code, told = refused("finetune", write_recipe(tmp_path, mixup_alfa=0.5))
    assert code == 2
    assert "unknown key mixup_alfa; did you mean mixup_alpha?" in told
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize("module", COMMANDS)
def test_help_exits_with_0(module, capsys):
    with pytest.raises(SystemExit) as end:
        module.main(["--help"])
    assert end.value.code == 0
    assert "usage" in capsys.readouterr().out


def test_without_a_recipe_the_usage_is_one_line():
    with pytest.raises(SettingError, match="required: RECIPE; usage: deit-lt") as refusal:
        parse("--seed=1")
    assert "\n" not in str(refusal.value)
