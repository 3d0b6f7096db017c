"""The command line of every command: words, and settings as flags that mean what the lines of a recipe mean."""

from __future__ import annotations

import argparse
from dataclasses import MISSING, Field, fields
from typing import Any, NoReturn, get_args, get_origin, get_type_hints

from trainer.errors import SettingError
from trainer.parsing import closest


class CommandParser(argparse.ArgumentParser):
    """Reads `WORD ... [--flag value ...]`; flags stand anywhere, in either spelling (`--use-cpu`, `--use_cpu`).

    Args:
        name: of the command.
        description: for `--help`.
        kinds: argument classes, whose fields are the flags.
        words: what each word is, by its name in capitals; one in brackets may be left out, one that ends in "..."
            may come several times; in brackets, any number of times.
    """

    def __init__(self, name: str, description: str, *kinds: type, words: dict[str, str]):
        super().__init__(
            prog=f"deit-lt {name}",
            usage=f"%(prog)s {' '.join(words)} [--flag value ...]",  # argparse's own lists all flags above every error
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.words = list(words)
        for word, what in words.items():
            self.add_argument(word, help=what, nargs=_times(word))
        self.flags = []
        for kind in kinds:
            group, hints = self.add_argument_group(kind._argument_group_name), get_type_hints(kind)
            for entry in fields(kind):
                if entry.init:
                    self.flags.append(entry.name)
                    group.add_argument(*_spellings(entry), **_flag(entry, hints[entry.name]))

    def parse(self, words: list[str]) -> tuple[Any, ...]:
        """The value of each word, and last the flags that are given, by name, as texts.

        Raises:
            SettingError: a word is missing, or a flag is unknown; it names the closest.
        """
        namespace, unknown = self.parse_known_args(words)
        for word in unknown:
            name = word.lstrip("-").split("=")[0].replace("-", "_")
            raise SettingError(f"unknown argument {word}{closest(name, self.flags, '--')}")
        given = vars(namespace)
        return *(given.pop(word) for word in self.words), given

    def error(self, message: str) -> NoReturn:
        """A usage error is one line, as all refusals."""
        raise SettingError(f"{message}; usage: {self.format_usage().removeprefix('usage: ').strip()}")


def _times(word: str) -> str | None:
    several, optional = word.strip("[]").endswith("..."), word.startswith("[")
    return {(True, True): "*", (True, False): "+", (False, True): "?"}.get((several, optional))


def _spellings(entry: Field) -> list[str]:
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
    flag["action"] = Once
    if several:
        return {**flag, "nargs": "+"}
    return {**flag, "nargs": "?", "const": "true"} if bool in members else flag


class Once(argparse.Action):
    """Keeps the value of a flag, which may be given once: of two values one would be dropped without a word."""

    def __call__(self, parser, namespace, values, option_string=None):
        """Called by argparse with each value."""
        if hasattr(namespace, self.dest):
            raise SettingError(f"--{self.dest} is given twice; give it once")
        alone = isinstance(values, list) and len(values) == 1
        setattr(namespace, self.dest, values[0] if alone else values)  # of a list, as a recipe's line has it
