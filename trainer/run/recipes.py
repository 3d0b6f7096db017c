"""Recipes: YAML files of settings, and what the user gave beside them, read into typed settings."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import Enum
from functools import cached_property
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from trainer.arguments import DataArguments, DistillationArguments, ModelArguments
from trainer.errors import SettingError
from trainer.settings import changed_settings, deciding_settings
from trainer.teachers.arguments import TeacherArguments

NONE = ("none", "null", "~", "")
BOOLEANS = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(("false", "no", "off", "0"), False)
TYPES = {int: "a whole number", float: "a number", bool: "true or false", dict: "a JSON object", str: "a word"}


@dataclass(frozen=True)
class TeacherRecipe:
    """All that is given for the run of a teacher; nothing in it is changed afterwards.

    Attributes:
        name: of the recipe's file, without its ending.
        data, training: the settings.
    """

    name: str
    data: DataArguments
    training: TeacherArguments

    @property
    def asked(self) -> dict:
        """What decides what is learned and reported."""
        own = deciding_settings(self.data) | deciding_settings(self.training)
        return {"settings": own, "group_boundaries": self.data.group_boundaries}


@dataclass(frozen=True)
class StudentRecipe:
    """All that is given for the run of a student; nothing in it is changed afterwards.

    Attributes:
        name: of the recipe's file, without its ending.
        model, data, training: the settings.
        teacher_recipe: the recipe that `training.teacher` names, where it names one, as its file says it.
    """

    name: str
    model: ModelArguments
    data: DataArguments
    training: DistillationArguments
    teacher_recipe: TeacherRecipe | None = None

    @cached_property
    def teacher(self) -> TeacherRecipe | None:
        """The recipe of its teacher for this run, with the seed, device and workers of the student.

        Made once, before any trainer: new TrainingArguments reset what Accelerate knows of the process. Precision is
        the teacher's own: a small CNN gains no speed from bf16 and loses accuracy of its steps.
        """
        if self.teacher_recipe is None or not _is_recipe(self.training.teacher):
            return None
        own, student = self.teacher_recipe.training, self.training
        workers = 0 if own.images_on_device else student.dataloader_num_workers
        taken_over = {name: getattr(student, name) for name in ("seed", "use_cpu", "disable_tqdm")}
        return replace(self.teacher_recipe, training=replace(own, dataloader_num_workers=workers, **taken_over))

    @property
    def asked(self) -> dict:
        """What decides what is learned and reported."""
        own = deciding_settings(self.model) | deciding_settings(self.data) | deciding_settings(self.training)
        teacher = self.training.teacher if self.teacher is None else self.teacher.asked
        return {"settings": own, "teacher": teacher, "group_boundaries": self.data.group_boundaries}

    @property
    def changed(self) -> dict:
        """Those settings that decide what is learned and differ from their defaults; of a teacher's path the end."""
        own = changed_settings(self.model) | changed_settings(self.data) | changed_settings(self.training)
        named = self.training.teacher
        if named is None:
            return own
        path = Path(named)
        return {"teacher": path.stem if self.teacher else path.name if path.is_dir() else named} | own


def student_recipe(path: str | Path, given: Mapping[str, Any] | None = None) -> StudentRecipe:
    """Read a student's recipe.

    Args:
        path: YAML file.
        given: settings by name that win over the file's, as text or as they are. Default: none.

    Raises:
        SettingError: the file is missing or no YAML, a name is unknown, or a value cannot be.
    """
    path = Path(path)
    model, data, training = read_settings(path, given, (ModelArguments, DataArguments, DistillationArguments))
    if not _is_recipe(training.teacher):
        return StudentRecipe(path.stem, model, data, training)
    beside = path.parent / training.teacher
    # On this device from the start: a recipe may ask for what another one has not.
    given = {"use_cpu": training.use_cpu}
    own = teacher_recipe(beside if beside.is_file() else training.teacher, given)
    return StudentRecipe(path.stem, model, data, training, own)


def teacher_recipe(path: str | Path, given: Mapping[str, Any] | None = None) -> TeacherRecipe:
    """Read a teacher's recipe; as `student_recipe`."""
    path = Path(path)
    settings = read_settings(path, given, (DataArguments, TeacherArguments), runs="runs/teachers")
    return TeacherRecipe(path.stem, *settings)


def _is_recipe(teacher: str | None) -> bool:
    return teacher is not None and teacher.endswith((".yaml", ".yml"))


def read_settings(path: Path, given: Mapping[str, Any] | None, kinds: tuple[type, ...], runs: str = "runs") -> list:
    """The settings of a recipe as objects.

    Args:
        path: YAML file.
        given: settings that win over the file's.
        kinds: argument classes, whose fields are the names that are known.
        runs: folder in which a run without `output_dir` gets one, named after its recipe.

    Raises:
        SettingError: as `student_recipe`.
    """
    written = {"output_dir": f"{runs}/{path.stem}", **read_yaml(path)}
    known = [entry.name for kind in kinds for entry in fields(kind) if entry.init]
    for name, where in {**dict.fromkeys(written, f"{path}: "), **dict.fromkeys(given or {}, "")}.items():
        if name not in known:
            raise SettingError(f"{where}unknown key {name}{closest(name, known)}")
    return [make(kind, {**written, **(given or {})}) for kind in kinds]


def read_yaml(path: Path) -> dict[str, Any]:
    """The lines of a recipe: names and texts, or lists of texts; each setting's type says what a text means."""
    if not path.is_file():
        raise SettingError(f"there is no recipe {path}")
    try:
        lines = yaml.load(path.read_text(), Loader=yaml.BaseLoader) or {}
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(lines, dict):
        raise SettingError(f"{path} must hold `key: value` lines")
    return lines


def closest(word: str, known: list[str], prefix: str = "") -> str:
    """The end of a message about an unknown word."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {prefix}{close[0]}?" if close else "; --help lists what there is"


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
            raise SettingError(f"{entry.name} must be {_wanted(hints[entry.name])}, got {value}") from None
        choices = entry.metadata.get("choices")
        if choices and value not in choices:
            raise SettingError(f"{entry.name} must be one of {', '.join(choices)}, got {value}")
    try:
        return kind(**values)
    except (ValueError, TypeError, ImportError, OSError) as error:  # a range, or what TrainingArguments refuses
        raise SettingError(" ".join(str(error).split())) from error


def _wanted(hint: Any) -> str:
    """A type in words."""
    words = [
        f"{TYPES[get_args(kind)[0]]}, or several" if get_origin(kind) is list else TYPES.get(get_origin(kind) or kind)
        for kind in _members(hint)
    ]
    return " or ".join(filter(None, words))


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
        items = value if isinstance(value, list) else [value]
        return [from_text(item, *get_args(kind)) for item in items]
    if (get_origin(kind) or kind) is dict:
        mapping = json.loads(value) if isinstance(value, str) else value
        if not isinstance(mapping, dict):
            raise ValueError(value)
        return {name: _scalar(item) for name, item in mapping.items()}
    if isinstance(value, (list, dict)):
        raise ValueError(value)
    text = str(value)
    if get_origin(kind) is Literal or kind is bool:
        words = {str(choice): choice for choice in get_args(kind)} if kind is not bool else BOOLEANS
        if text.lower() in words:
            return words[text.lower()]
    elif kind in (int, float, str) or (isinstance(kind, type) and issubclass(kind, Enum)):
        return kind(text)
    raise ValueError(value)


def _scalar(value: Any) -> Any:
    """What a text inside a mapping, whose types nobody declares, looks like."""
    for kind in (int, float, bool):
        try:
            return _as(value, kind) if isinstance(value, str) else value
        except ValueError:
            continue
    return value
