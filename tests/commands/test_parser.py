"""Command lines: flags stand anywhere, unknown ones are named, help ends with 0."""

import pytest
from helpers import write_recipe

from trainer.arguments import DataArguments, DistillationArguments, ModelArguments
from trainer.commands import classify, compare, compare_teachers, evaluate, evaluate_teacher, finetune, flatness
from trainer.commands import train_teacher as train_teacher_command
from trainer.commands.parser import SettingsParser
from trainer.errors import SettingError
from trainer.run.recipes import student_recipe

COMMANDS = [finetune, train_teacher_command, evaluate, evaluate_teacher, flatness, compare, compare_teachers, classify]


def parse(*words):
    """A student's recipe from a command line."""
    parser = SettingsParser("", ModelArguments, DataArguments, DistillationArguments)
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


def test_a_missing_recipe_lists_what_there_is():
    with pytest.raises(SettingError, match=r"there is no recipe nowhere\.yaml; .* digits_lt"):
        parse("nowhere.yaml")


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


def test_without_a_recipe_the_usage_is_one_line(capsys):
    with pytest.raises(SystemExit) as end:
        parse("--seed=1")
    assert end.value.code == 2
    assert "required: recipe" in capsys.readouterr().err
