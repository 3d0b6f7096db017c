"""How every command reads its recipe and flags, and how it ends: 0 done, 1 one plain line, 2 usage."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import yaml
from transformers import HfArgumentParser, logging

from trainer.errors import DeiTLTError

RECIPES = Path(__file__).parent / "recipes"


class RecipeParser(HfArgumentParser):
    """Reads `RECIPE.yaml [--flag value ...]` into dataclasses: the recipe's lines become flags, later flags win.

    Args:
        dataclass_types: whose fields are the recipe's keys and the flags.
        description: for `--help`.
        runs: folder in which a run without `output_dir` gets one, named after its recipe.
    """

    def __init__(self, dataclass_types: tuple[type, ...], description: str, runs: str = "runs"):
        usage = "%(prog)s RECIPE.yaml [--flag value ...]"  # argparse's own lists all flags above every error
        super().__init__(dataclass_types, usage=usage, description=description, allow_abbrev=False)
        self.runs = runs
        self.keys = [f.name for cls in dataclass_types for f in fields(cls) if f.init]
        self.add_argument("recipe", help="a YAML file; those that come with the project lie in scripts/recipes")

    def parse(self, arguments: list[str]) -> tuple:
        """Read the command line.

        Args:
            arguments: the recipe's path, then flags.

        Returns:
            The recipe's path and one object per dataclass. A usage error names the closest known key or flag and
            exits with 2.
        """
        flags = self._flags_of(Path(arguments[0])) if arguments and not arguments[0].startswith("-") else []
        try:
            *objects, namespace, unknown = self.parse_args_into_dataclasses(
                [*arguments[:1], *flags, *arguments[1:]], return_remaining_strings=True, look_for_args_file=False
            )
        except ValueError as error:
            self.error(" ".join(str(error).split()))
        for word in unknown:
            key = word.lstrip("-").split("=")[0].replace("-", "_")
            self.error(f"unknown argument {word}{self._closest(key, '--')}")
        return Path(namespace.recipe), *objects

    def _flags_of(self, path: Path) -> list[str]:
        if not path.is_file():
            known = ", ".join(sorted(p.stem for p in RECIPES.glob("*.yaml")))
            self.error(f"there is no recipe {path}; those in scripts/recipes are {known}")
        try:
            settings = yaml.safe_load(path.read_text()) or {}
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            self.error(f"{path} is not valid YAML: {' '.join(str(error).split())}")
        if not isinstance(settings, dict):
            self.error(f"{path} must hold `key: value` lines")
        for key in settings:
            if key not in self.keys:
                self.error(f"{path}: unknown key {key}{self._closest(str(key))}")
        return as_flags({"output_dir": f"{self.runs}/{path.stem}", **settings})

    def _closest(self, word: str, prefix: str = "") -> str:
        close = difflib.get_close_matches(word, self.keys, n=1, cutoff=0.5)
        return f"; did you mean {prefix}{close[0]}?" if close else "; --help lists what there is"


def as_flags(settings: dict) -> list[str]:
    """Settings as command-line words; None means "not given"."""
    flags = []
    for key, value in settings.items():
        if isinstance(value, list):
            flags += [f"--{key}", *map(str, value)] if value else []
        elif isinstance(value, dict):
            flags.append(f"--{key}={json.dumps(value)}")
        elif value is not None:
            flags.append(f"--{key}={value}")
    return flags


def run(main: Callable[[list[str]], None]) -> None:
    """Call a command's main with the command line; a refusal becomes one line on standard error and exit code 1."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()  # of saving and loading; the training bar stays
    try:
        main(sys.argv[1:])
    except DeiTLTError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
