"""The files of recipes: those that come with the package, by their stem, and the user's own, by their path.

Beside them lie configurations of `accelerate launch`, which only it reads.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from trainer.errors import SettingError
from trainer.parsing import closest, shown

RECIPES = Path(__file__).parent / "recipes"
ENDINGS = (".yaml", ".yml")
LARGEST = 2**20  # bytes


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
    try:
        if Path(name).is_file():
            return Path(name)
        is_folder = Path(name).is_dir() and str(name) not in ("", ".")
    except (OSError, ValueError):  # no name that a file can have
        is_folder = False
    known = {stem: path for kind in kinds or ("students",) for stem, path in shipped_recipes(kind).items()}
    stem = Path(name).stem if Path(name).suffix in ENDINGS and Path(name).parent == Path() else str(name)
    if stem not in known:
        advice = closest(stem, known, otherwise="`deit-lt recipes` lists what there is")
        if is_folder:
            raise SettingError(f"{name} is a folder, not a recipe; name a YAML file in it")
        raise SettingError(f"there is no recipe {shown(name)}{advice}")
    return known[stem]


def teacher_file(teacher: str | None, beside: Path) -> Path | None:
    """The recipe that a student's setting `teacher` names, or None where it names no recipe.

    Args:
        teacher: the setting.
        beside: folder of the student's recipe, where a file name is looked for first.
    """
    if teacher is None or os.path.isdir(teacher):  # not Path.is_dir, which some words make fail
        return None
    if teacher.endswith(ENDINGS):
        return find_recipe(beside / teacher if os.path.isfile(beside / teacher) else teacher, "teachers")
    return shipped_recipes("teachers").get(teacher)


class RecipeLoader(yaml.BaseLoader):
    """Reads texts, lists and mappings, and makes no other object. It refuses what YAML would take without a word: a
    key that comes twice; and what no recipe needs: tags, and aliases, which can make a small file large.
    """

    def compose_node(self, parent, index):
        """As PyYAML's, without aliases and tags."""
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                None, None, f"the alias *{event.anchor} is not taken; repeat it", event.start_mark
            )
        if getattr(event, "tag", None):
            raise yaml.MarkedYAMLError(None, None, f"the tag {event.tag} is not taken; leave it out", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        """As PyYAML's, with each key once."""
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(None, None, "a key is a word", key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(None, None, f"the key {key.value} comes twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """The lines of a recipe: names and texts, or lists of texts; each setting's type says what a text means.

    Raises:
        SettingError: the file cannot be read, is no YAML, has a key twice, or holds no settings.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise SettingError(f"{path} is larger than any recipe; name a YAML file of settings")
        lines = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=RecipeLoader)
    except OSError as error:
        raise SettingError(f"{path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise SettingError(f"{path} is not text in UTF-8; name a YAML file") from error
    except RecursionError as error:
        raise SettingError(f"{path} is nested too deeply; a recipe holds `key: value` lines") from error
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else path
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or error
        raise SettingError(f"{where} is not valid YAML: {' '.join(str(reason).split())}") from error
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
