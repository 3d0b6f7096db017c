"""Parsing of settings: the lines of recipes and the flags of commands mean the same."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from trainer.errors import DeiTLTError, SettingError

NONE = ("none", "null", "~", "")
BOOLEANS = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(("false", "no", "off", "0"), False)
TYPES = {int: "a whole number", float: "a number", bool: "true or false", dict: "a JSON object", str: "a word"}


def closest(word: str, known: Iterable[str], prefix: str = "", otherwise: str = "--help lists what there is") -> str:
    """The end of a message about an unknown word: the closest known one, else what `otherwise` says."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {prefix}{close[0]}?" if close else f"; {otherwise}"


def make(kind: type, settings: Mapping[str, Any]) -> Any:
    """An object of an argument class from settings, of which those of other classes are left alone.

    Raises:
        SettingError: a value is not of its setting's type, is none of its choices, or cannot be.
    """
    hints, values = get_type_hints(kind), {}
    for entry in fields(kind):
        if not entry.init or entry.name not in settings:
            continue
        value = settings[entry.name]
        try:
            values[entry.name] = value = from_text(value, hints[entry.name])
        except ValueError:
            raise SettingError(f"{entry.name} must be {_wanted(hints[entry.name])}, got {shown(value)}") from None
        choices = entry.metadata.get("choices")
        if choices and value not in choices:
            raise SettingError(f"{entry.name} must be one of {', '.join(choices)}, got {shown(value)}")
    try:
        return kind(**values)
    except DeiTLTError:
        raise
    # A range, or what TrainingArguments refuses in a way of its own: nothing but settings can be at fault here.
    except Exception as error:
        raise SettingError(in_one_line(error)) from error


def take(given: dict[str, Any], kind: type) -> dict[str, Any]:
    """Those of the given settings that are fields of an argument class; they are taken out of `given`."""
    return {entry.name: given.pop(entry.name) for entry in fields(kind) if entry.name in given}


def _wanted(hint: Any) -> str:
    """A type in words."""
    words = [
        f"{TYPES.get(get_args(kind)[0], 'a word')}, or several"
        if get_origin(kind) is list
        else TYPES.get(get_origin(kind) or kind)
        for kind in _members(hint)
    ]
    return " or ".join(filter(None, words)) or "left out"  # what Python alone can give


def shown(value: Any) -> str:
    """A value in a message: one line, and no longer than one that a person reads."""
    text = "".join(letter if letter.isprintable() else "?" for letter in " ".join(str(value).split()))
    return text if len(text) <= 80 else f"{text[:80]}..."


def in_one_line(error: Exception) -> str:
    """The message of any error, or its kind where it has none."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def from_text(value: Any, hint: Any) -> Any:
    """A value from its text, or from a list or mapping of texts, by the type of its setting.

    Raises:
        ValueError: it is not of that type.
    """
    members = _members(hint)
    if NoneType in members and (value is None or (isinstance(value, str) and value.lower() in NONE)):
        return None
    for member in members:
        try:
            return _as(value, member)
        except ValueError:
            continue
    raise ValueError(value)


def _members(hint: Any) -> list:
    """The types of a union; a word is the last thing to take a text for."""
    members = list(get_args(hint)) if get_origin(hint) in (Union, UnionType) else [hint]
    return sorted(members, key=lambda member: member is str)


def _as(value: Any, kind: Any) -> Any:
    if (get_origin(kind) or kind) is list:
        items = value if isinstance(value, (list, tuple)) else [value]
        return [from_text(item, *get_args(kind)) for item in items]
    if (get_origin(kind) or kind) is dict:
        mapping = json.loads(value) if isinstance(value, str) else value
        if not isinstance(mapping, dict):
            raise ValueError(value)
        return {name: _scalar(item) for name, item in mapping.items()}
    if isinstance(value, (list, dict)):
        raise ValueError(value)
    text = str(value)
    if "\0" in text:  # which no path can hold
        raise ValueError(value)
    if get_origin(kind) is Literal or kind is bool:
        words = {str(choice): choice for choice in get_args(kind)} if kind is not bool else BOOLEANS
        if text.lower() in words:
            return words[text.lower()]
    elif kind in (int, float, str) or (isinstance(kind, type) and issubclass(kind, Enum)):
        return _number(kind, text) if kind in (int, float) else kind(text)
    raise ValueError(value)


def _number(kind: type, text: str) -> int | float:
    """A number that fits into 64 bits; an infinite one is left to the intervals."""
    number = kind(text)
    if kind is int and abs(number) >= 2**63:
        raise ValueError(text)
    return number


def _scalar(value: Any) -> Any:
    """What a text inside a mapping, whose types nobody declares, looks like."""
    for kind in (int, float, bool):
        try:
            return _as(value, kind) if isinstance(value, str) else value
        except ValueError:
            continue
    return value
