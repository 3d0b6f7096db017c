"""The names, files, commands, flags and recipes in the documents are there."""

import re
import shlex
from contextlib import redirect_stdout, suppress
from functools import cache
from importlib import import_module
from io import StringIO
from pathlib import Path

import pytest

from trainer.commands.__main__ import COMMANDS
from trainer.recipe_files import shipped_recipes

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
WITH_RECIPE = (
    *("finetune", "compare", "evaluate-teacher", "flatness", "train-teacher", "recipes", "check-data", "to-parquet"),
)
NAMES = sorted(set(re.findall(r"`((?:trainer|modeling_deit_lt)(?:\.\w+)+)`", (DOCS / "design.md").read_text())))

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_the_design_is_there(name):
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return
    pytest.fail(f"there is no {name}")


@each_document
def test_links_and_files_are_there(document):
    text = document.read_text()
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert "://" in link or (document.parent / link).exists(), link
    for name in re.findall(r"`((?:scripts|docs|trainer|tests|\.ci)/[\w./]*\w)`", text) + re.findall(
        r"\b(?:scripts|docs)/[\w/]+\.(?:py|yaml|svg|png|json|md)\b", text
    ):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"`(?:tests/)?((?:\w+/)*test_\w+\.py)`", text):
        assert list((ROOT / "tests").glob(name)) or list((ROOT / "tests").glob(f"*/{name}")), name


@each_document
def test_commands_flags_and_recipes_are_there(document):
    for words in command_lines(document.read_text()):
        command, *rest = words
        assert command in COMMANDS
        if rest and command in WITH_RECIPE and not rest[0].startswith("--"):
            configurations = shipped_recipes("accelerate") if command == "recipes" else {}
            assert is_recipe(rest[0]) or rest[0] in configurations, f"{command} {rest[0]}"
        for word in rest:
            if word.startswith("--"):
                assert word.split("=")[0] in flags_of(command), f"{command} {word}"


@each_document
def test_flags_in_the_text_are_flags_of_a_command(document):
    known = set().union(*map(flags_of, COMMANDS))
    text = re.sub(r"`(?:accelerate|pip)[^`]*`", "", re.sub(r"```.*?```", "", document.read_text(), flags=re.S))
    for flag in re.findall(r"`(--\w+)", text):
        assert flag in known, flag


def test_every_recipe_is_named():
    text = "".join(document.read_text() for document in DOCUMENTS)
    for stem in [*shipped_recipes("students"), *shipped_recipes("teachers")]:
        short = re.sub(r"^.*_resnet\d+(?=_)", "", stem)  # `_paco_sam` beside `imagenet_lt_resnet50_paco`
        assert f"`{stem}`" in text or f"`{short}`" in text, stem


@pytest.mark.parametrize("document", [DOCS / "results.md", DOCS / "teachers.md"], ids=lambda path: path.name)
def test_recipes_of_a_table_are_there(document):
    recipes = {**shipped_recipes("students"), **shipped_recipes("teachers")}
    rows = document.read_text().split("## Recipes")[1].split("\n## ")[0]
    for name in re.findall(r"^\| `(\w+)`", rows, re.M):
        assert name in recipes, name


@pytest.mark.parametrize("path", sorted((ROOT / "trainer" / "recipes").rglob("*.yaml")), ids=lambda path: path.stem)
def test_files_that_a_recipes_comments_name_are_there(path):
    for name in re.findall(r"\b(?:scripts|docs)/\s?#?\s?[\w/.]+\.\w+", path.read_text()):
        assert (ROOT / re.sub(r"[\s#]", "", name)).is_file(), name


def command_lines(text):
    """The words after `deit-lt` of each command in blocks and in the text."""
    blocks = "".join(re.findall(r"```bash\n(.*?)```", text, re.S)).replace("\\\n", " ")
    for line in re.findall(r"^deit-lt (.*)$", blocks, re.M) + re.findall(r"`deit-lt ([a-z][^`]*)`", text):
        yield shlex.split(line.partition(" > ")[0], comments=True)


def is_recipe(word):
    """The name of a recipe, a file of the reader's, or a placeholder in capitals."""
    return word in shipped_recipes("students") | shipped_recipes("teachers") or bool(
        re.fullmatch(r"\w+\.yaml|\[?[A-Z]+\]?", word)
    )


@cache
def flags_of(command):
    """The flags that a command's help lists."""
    module = import_module(f"trainer.commands.{command.replace('-', '_')}")
    with redirect_stdout(StringIO()) as told, suppress(SystemExit):
        module.main(["--help"])
    return set(re.findall(r"--\w+", told.getvalue()))
