"""Recipes: YAML files of settings, and what the user gave beside them, read into typed settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from trainer.arguments import DataArguments, DistillationArguments, ModelArguments
from trainer.errors import SettingError
from trainer.parsing import NONE, closest, make, shown
from trainer.recipe_files import find_recipe, read_yaml, teacher_file
from trainer.settings import changed_settings, deciding_settings, over_all_ranks
from trainer.teachers.arguments import TeacherArguments
from trainer.unused_settings import changed_of

EVALUATIONS = ("eval_strategy", "eval_steps", "eval_delay", "metric_for_best_model", "greater_is_better")
OF_STUDENTS = {entry.name for kind in (ModelArguments, DistillationArguments) for entry in fields(kind)}
OF_TEACHERS = {entry.name for entry in fields(TeacherArguments)}


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
        own = deciding_settings(self.data) | over_all_ranks(self.training)
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
        if self.teacher_recipe is None:
            return None
        own, student = self.teacher_recipe.training, self.training
        names = ("seed", "use_cpu", "disable_tqdm", "output_dir", "dataloader_num_workers")
        taken_over = {name: getattr(student, name) for name in names}
        return replace(self.teacher_recipe, training=replace(own, **taken_over))

    @property
    def asked(self) -> dict:
        """What decides what is learned and reported."""
        own = deciding_settings(self.model) | deciding_settings(self.data) | over_all_ranks(self.training)
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


def student_recipe(name: str | Path, given: Mapping[str, Any] | None = None) -> StudentRecipe:
    """Read a student's recipe.

    Args:
        name: stem of a recipe that comes with the package, or path of a YAML file.
        given: settings by name that win over the file's, as text or as they are. Default: none.

    Raises:
        SettingError: the file is missing or no YAML, a name is unknown, or a value cannot be.
    """
    path = find_recipe(name)
    model, data, training = read_settings(path, given, (ModelArguments, DataArguments, DistillationArguments))
    unused = [name for name in EVALUATIONS if name in changed_of(training)]
    if training.save_strategy == "best":
        unused.append("save_strategy best")
    if unused:
        raise SettingError(f"{unused[0]} is not used by a run; set model_selection, which evaluates checkpoints")
    own = teacher_file(training.teacher, path.parent)
    if own is not None:
        # On this device from the start: a recipe may ask for what another one has not.
        try:
            own = teacher_recipe(own, {"use_cpu": training.use_cpu})
        except SettingError as error:  # which would seem to be about the student's flag of the same name
            raise SettingError(f"teacher {training.teacher}: {error}") from error
    return StudentRecipe(path.stem, model, data, training, own)


def teacher_recipe(name: str | Path, given: Mapping[str, Any] | None = None) -> TeacherRecipe:
    """Read a teacher's recipe; as `student_recipe`."""
    path = find_recipe(name, "teachers")
    settings = read_settings(path, given, (DataArguments, TeacherArguments), runs="runs/teachers")
    return TeacherRecipe(path.stem, *settings)


def data_settings(name: str | Path, given: Mapping[str, Any] | None = None) -> DataArguments:
    """Which images a recipe, a student's or a teacher's, is about; its other settings are not looked at.

    Args:
        name: stem of a recipe that comes with the package, or path of a YAML file.
        given: settings of the data by name that win over the file's.

    Raises:
        SettingError: as `student_recipe`.
    """
    written = read_yaml(find_recipe(name, "students", "teachers"))
    return make(DataArguments, {**written, **(given or {})})


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
            other = " of a student" if name in OF_STUDENTS else " of a teacher" if name in OF_TEACHERS else ""
            advice = f", a setting{other}; name another recipe" if other else closest(name, known)
            raise SettingError(f"{where}unknown key {shown(name)}{advice}")
    settings = {**written, **(given or {})}
    if str(settings["output_dir"]).lower() in NONE:
        raise SettingError("output_dir is empty; name a folder")
    return [make(kind, settings) for kind in kinds]
