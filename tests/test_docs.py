"""The names in the documents are names in the code."""

import re
from importlib import import_module
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
DESIGN = (DOCS / "design.md").read_text()
NAMES = sorted(set(re.findall(r"`((?:trainer|modeling_deit_lt)(?:\.\w+)+)`", DESIGN)))


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


def test_the_tests_that_a_document_names_are_there():
    for document in DOCS.glob("*.md"):
        for name in set(re.findall(r"`((?:\w+/)*test_\w+\.py)`", document.read_text())):
            assert list((DOCS.parent / "tests").glob(name)) or list((DOCS.parent / "tests").glob(f"*/{name}")), name
