"""The command line of a command: settings as flags, with the same names and values as the lines of a recipe."""

from __future__ import annotations

import argparse
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

from trainer.errors import SettingError
from trainer.run.recipes import closest

RECIPES = Path(__file__).parents[2] / "scripts" / "recipes"


class SettingsParser(argparse.ArgumentParser):
    """Reads `RECIPE.yaml [--flag value ...]`: which recipe, and the settings that are given beside it, as text.

    Args:
        description: for `--help`.
        kinds: argument classes, whose fields are the flags.
        usage: what follows the command's name. Default: a recipe and flags.
    """

    def __init__(self, description: str, *kinds: type, usage: str = "RECIPE.yaml [--flag value ...]"):
        super().__init__(
            usage=f"%(prog)s {usage}",  # argparse's own lists all flags above every error
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.add_argument("recipe", type=Path, help="a YAML file; the project's own lie in scripts/recipes")
        self.known = []
        for kind in kinds:
            group, hints = self.add_argument_group(kind._argument_group_name), get_type_hints(kind)
            for entry in fields(kind):
                if entry.init:
                    self.known.append(entry.name)
                    group.add_argument(*_names(entry), **_flag(entry, hints[entry.name]))

    def parse(self, words: list[str]) -> tuple[Path, dict[str, str | list[str]]]:
        """The recipe's path and what is given beside it.

        Raises:
            SettingError: there is no such recipe, or a flag is unknown; it names the closest.
        """
        namespace, unknown = self.parse_known_args(words)
        for word in unknown:
            name = word.lstrip("-").split("=")[0].replace("-", "_")
            raise SettingError(f"unknown argument {word}{closest(name, self.known, '--')}")
        given = {name: value for name, value in vars(namespace).items() if name != "recipe"}
        if not namespace.recipe.is_file():
            there = ", ".join(sorted(path.stem for path in RECIPES.glob("*.yaml")))
            raise SettingError(f"there is no recipe {namespace.recipe}; those in scripts/recipes are {there}")
        return namespace.recipe, given


def _names(entry: Field) -> list[str]:
    return list(dict.fromkeys((f"--{entry.name}", f"--{entry.name.replace('_', '-')}")))


def _flag(entry: Field, hint) -> dict:
    """How argparse is to read a flag: as text, which the setting's type explains later; nothing unless it is given."""
    members = get_args(hint) or (hint,)
    several = get_origin(hint) is list or any(get_origin(member) is list for member in members)
    default = (
        "" if entry.default in (MISSING, None) else f" (default: {getattr(entry.default, 'value', entry.default)})"
    )
    help_text = (entry.metadata.get("help", "") + default).replace("%", "%%")  # argparse formats it
    flag = {"dest": entry.name, "default": argparse.SUPPRESS, "help": help_text}
    flag["metavar"] = "{" + ",".join(entry.metadata["choices"]) + "}" if "choices" in entry.metadata else "VALUE"
    if several:
        return {**flag, "nargs": "+"}
    return {**flag, "nargs": "?", "const": "true"} if bool in members else flag
