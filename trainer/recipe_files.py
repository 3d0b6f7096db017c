"""The files of recipes: those that come with the package, by their stem, and the user's own, by their path.

Beside them lie configurations of `accelerate launch`, which only it reads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from trainer.errors import SettingError
from trainer.parsing import closest

RECIPES = Path(__file__).parent / "recipes"
ENDINGS = (".yaml", ".yml")


def shipped_recipes(kind: str = "students") -> dict[str, Path]:
    """The recipes that come with the package, by stem; kind is "students", "teachers" or "accelerate"."""
    folder = RECIPES if kind == "students" else RECIPES / kind
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_recipe(name: str | Path, *kinds: str) -> Path:
    """The file of a recipe.

    Args:
        name: a path, or the stem of a recipe that comes with the package.
        kinds: of those; as for `shipped_recipes`. Default: students.

    Raises:
        SettingError: there is none; it names the closest.
    """
    if Path(name).is_file():
        return Path(name)
    known = {stem: path for kind in kinds or ("students",) for stem, path in shipped_recipes(kind).items()}
    stem = Path(name).stem if Path(name).suffix in ENDINGS and Path(name).parent == Path() else str(name)
    if stem not in known:
        advice = closest(stem, known, otherwise="`deit-lt recipes` lists what there is")
        raise SettingError(f"there is no recipe {name}{advice}")
    return known[stem]


def teacher_file(teacher: str | None, beside: Path) -> Path | None:
    """The recipe that a student's setting `teacher` names, or None where it names no recipe.

    Args:
        teacher: the setting.
        beside: folder of the student's recipe, where a file name is looked for first.
    """
    if teacher is None or Path(teacher).is_dir():
        return None
    if teacher.endswith(ENDINGS):
        return find_recipe(beside / teacher if (beside / teacher).is_file() else teacher, "teachers")
    return shipped_recipes("teachers").get(teacher)


def read_yaml(path: Path) -> dict[str, Any]:
    """The lines of a recipe: names and texts, or lists of texts; each setting's type says what a text means."""
    try:
        lines = yaml.load(path.read_text(), Loader=yaml.BaseLoader) or {}
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(lines, dict):
        raise SettingError(f"{path} must hold `key: value` lines")
    return lines


def summary_of(path: Path) -> str:
    """What a recipe is for: the first sentence of the comment that it begins with."""
    comment = []
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            break
        comment.append(line.lstrip("# "))
    return " ".join(comment).split(". ")[0].rstrip(".")
