"""Generated recipes: any text for any setting gives a recipe or a refusal of one line; flags mean what lines mean."""

import dataclasses
import math
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainer.arguments import DataArguments, DistillationArguments, ModelArguments
from trainer.commands.parser import CommandParser
from trainer.errors import DeiTLTError
from trainer.run.dry_run import dry_run_student
from trainer.run.recipes import student_recipe, teacher_recipe
from trainer.teachers.arguments import TeacherArguments

STUDENT, TEACHER = (ModelArguments, DataArguments, DistillationArguments), (DataArguments, TeacherArguments)
READERS = {STUDENT: student_recipe, TEACHER: teacher_recipe}
SETTINGS = [
    (kinds, entry.name) for kinds in READERS for kind in kinds for entry in dataclasses.fields(kind) if entry.init
]
TINY = {"image_size": 8, "patch_size": 4, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}

numbers = st.one_of(
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(
        ["0", "-0", "1", "-1", "0.5", "1e999", "-1e999", "nan", "0x10", "1_000", "1e-320", "9" * 400, "\u0663"]
    ),
)
words = st.one_of(
    numbers,
    st.sampled_from(
        ["", "none", "null", "~", "true", "no", "{}", '{"a": 1}', "[]", "all", "/", "..", "~nobody", "a\0b"]
    ),
    st.text(max_size=20),
)
values = st.recursive(
    words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
few = settings(
    max_examples=200, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
many = settings(few, max_examples=2000)


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory):
    """A working directory for what some settings make, such as a folder of logs."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("generated"))
    yield
    os.chdir(before)


def read(kinds, lines):
    """A recipe of these lines, or None where it is refused as it should be."""
    path = Path("recipe.yaml")
    path.write_text(yaml.safe_dump({"use_cpu": "true", **lines}, allow_unicode=True), encoding="utf-8")
    return or_a_line(READERS[kinds], path)


def or_a_line(function, *given):
    """What a function gives, or None where it refuses as it should: in one line."""
    try:
        return function(*given)
    except DeiTLTError as error:
        line = str(error)
    assert line.strip()
    assert "\n" not in line
    assert len(line) < 1000
    return None


def a_recipe_or_a_refusal(setting, value, other, second):
    (kinds, name), (_, another) = setting, other
    recipe = read(kinds, {name: value} if second is None else {another: second, name: value})
    if recipe is not None:
        assert recipe.asked  # all that decides can be told


cases = given(st.sampled_from(SETTINGS), values, st.sampled_from(SETTINGS), st.none() | words)
test_any_value_is_a_recipe_or_a_line = few(cases(a_recipe_or_a_refusal))
test_more_values_are_a_recipe_or_a_line = pytest.mark.slow(many(cases(a_recipe_or_a_refusal)))


@few
@given(st.text(max_size=60) | st.binary(max_size=60))
def test_any_file_is_a_recipe_or_a_line(content):
    Path("recipe.yaml").write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
    or_a_line(student_recipe, "recipe.yaml")


@few
@given(st.sampled_from([(kinds, name) for kinds, name in SETTINGS if kinds is STUDENT]), words)
def test_a_line_and_a_flag_mean_the_same(setting, value):
    """Both are refused, or both give the same value."""
    kinds, name = setting
    by_line = read(kinds, {name: value})
    parser = CommandParser("finetune", "", *kinds, words={"RECIPE": ""})
    path, flags = parser.parse(["empty.yaml", f"--{name}={value}"])
    Path("empty.yaml").write_text("use_cpu: true\n")
    by_flag = or_a_line(student_recipe, path, flags)
    assert (by_line is None) == (by_flag is None)
    if by_line is not None:
        for part in ("model", "data", "training"):
            assert same(getattr(getattr(by_line, part), name, None), getattr(getattr(by_flag, part), name, None))


def same(one, other):
    """Equal, or the default folder of two recipes."""
    both_nan = isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other)
    return both_nan or one == other or (one, other) == ("runs/recipe", "runs/empty")


@settings(few, max_examples=60)
@given(
    st.sampled_from([entry.name for entry in dataclasses.fields(ModelArguments)]),
    st.integers(-2, 40).map(str) | st.sampled_from(["0.5", "eager", "tiny"]),
    st.sampled_from(
        ["num_train_epochs", "alpha", "optim", "lr_scheduler_type", "adam_beta1", "repeats", "optim_args"]
    ),
    words,
)
def test_a_dry_run_is_passed_or_a_line(name, value, other, second):
    recipe = read(STUDENT, {**TINY, "preset": "tiny", "report_to": "none", name: value, other: second})
    if recipe is not None:
        or_a_line(dry_run_student, recipe)
