"""Second step of a run: its teacher, trained, reused or loaded."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

from accelerate import PartialState

from trainer.errors import RunError
from trainer.ranks import from_first_rank, on_every_machine, whole_networks
from trainer.resuming import last_complete_checkpoint
from trainer.run.data import RunData
from trainer.run.dry_run import dry_run_teacher
from trainer.run.files import read_json, write_json
from trainer.run.folder import METRICS, SETTINGS, begin, holds_something, kind_of, locked
from trainer.run.progress import TEACHER, Progress
from trainer.run.recipes import StudentRecipe, TeacherRecipe
from trainer.settings import deciding_settings, over_all_ranks
from trainer.teachers import Teacher, TeacherTrainer, as_teacher, open_classifier, train_teacher
from trainer.teachers.arguments import TeacherArguments
from trainer.teachers.class_names import class_order, read_class_names
from trainer.teachers.loading import Classifier, refuse_other_channels
from trainer.teachers.training import TRAINING_VERSION

# The settings that say what kind of teacher one is.
REPORTED = (
    *("architecture", "loss", "sam_rho", "sam_milestones", "drw_start_epoch", "learning_rate", "lr_milestones"),
    "seed",
)
FILES = ("config.json", "model.safetensors", METRICS)


@dataclass(frozen=True)
class TeacherPlan:
    """Where a student's teacher comes from, as far as settings and folders tell before the data are read.

    Attributes:
        recipe: of a teacher that is trained or reused, or None.
        classifier: one that is there already, or None.
        outputs: (C,) the classes of its outputs where the user named them, or None.
    """

    recipe: TeacherRecipe | None = None
    classifier: Classifier | None = None
    outputs: list[str] | None = None


@dataclass(frozen=True)
class RunTeacher:
    """The teacher of a run.

    Attributes:
        teacher: images in the student's normalisation to logits, in the order of the data's classes.
        name: the folder or model that it was loaded from.
        figures: of its own test, where its recipe was given, or None.
    """

    teacher: Teacher
    name: str
    figures: dict | None


def plan_teacher(recipe: StudentRecipe) -> TeacherPlan | None:
    """All about a student's teacher that can be refused before the data are read; None for no teacher.

    Raises:
        SettingError, TeacherError, RunError: its recipe, its model or its folder cannot be.
    """
    args = recipe.training
    if args.teacher is None:
        return None
    file = args.teacher_class_names
    outputs = from_first_rank(lambda: read_class_names(file)) if file else None
    if recipe.teacher is None:
        classifier = from_first_rank(lambda: open_classifier(args.teacher))
        refuse_other_channels(classifier, recipe.data.num_channels)
        return TeacherPlan(classifier=classifier, outputs=outputs)
    folder, students = teacher_folder(recipe), Path(args.output_dir).resolve()
    if folder.resolve() == students or folder.resolve() in students.parents or students in folder.resolve().parents:
        raise RunError(f"the teacher's folder {folder} and the student's {args.output_dir} lie in one another")
    if args.teacher_output_dir and from_first_rank(lambda: holds_something(folder) and kind_of(folder) != "teacher"):
        raise RunError(f"teacher_output_dir {folder} holds something else than a teacher; name another one")
    dry_run_teacher(recipe.teacher, recipe.data.num_channels)
    return TeacherPlan(recipe=recipe.teacher, outputs=outputs)


def teacher_folder(recipe: StudentRecipe, digest: str = "") -> Path:
    """Where a student's teacher is trained: as was asked, or `teachers/<recipe>-<digest>` beside the student."""
    beside_student = Path(recipe.training.output_dir).parent / "teachers" / f"{recipe.teacher.name}-{digest}"
    return Path(recipe.training.teacher_output_dir or beside_student)


def obtain_teacher(
    plan: TeacherPlan | None, recipe: StudentRecipe, data: RunData, progress: Progress
) -> RunTeacher | None:
    """A student's teacher, trained on the student's training images, reused if that has been done, or as it is.

    Args:
        plan: from `plan_teacher`.
        recipe: the student's.
        data: the student's, whatever data the teacher's recipe names.
        progress: shows the teacher's training.

    Raises:
        RunError: its folder has a teacher of other settings.
        TeacherError: it does not fit the data.
    """
    if plan is None:
        return None
    name, figures, classifier, args = recipe.training.teacher, None, plan.classifier, recipe.training
    if plan.recipe is not None:
        if plan.outputs is not None:
            class_order(name, plan.outputs, data.names)
        name, figures = _trained_or_reused(plan.recipe, recipe, data, progress)
        classifier = from_first_rank(lambda: open_classifier(name))
    size, normalization = args.teacher_image_size, args.teacher_normalization
    outputs = plan.outputs
    teacher = as_teacher(classifier, len(data.names), size, normalization, data.names, outputs, data.pixels)
    return RunTeacher(teacher, name, figures)


def teacher_digest(args: TeacherArguments, data: RunData) -> str:
    """Of all that the weights of a teacher depend on: its settings, with their defaults, its images and the code."""
    batch = {"per_device_train_batch_size": args.global_batch_size}  # however many ranks share it
    facts = {**deciding_settings(args), **batch, "data": data.digest, "training_version": TRAINING_VERSION}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]


def is_complete(folder: Path) -> bool:
    """Whether a teacher's training in this folder ran to its end."""
    return all((folder / name).is_file() for name in FILES)


def of_all_ranks(own: TeacherRecipe) -> TeacherArguments:
    """A teacher's settings in a student's run: its learning rate belongs to its whole batch, which the ranks share."""
    batch = -(-own.training.per_device_train_batch_size // own.training.world_size)
    return replace(own.training, per_device_train_batch_size=batch)


def _trained_or_reused(
    own: TeacherRecipe, student: StudentRecipe, data: RunData, progress: Progress
) -> tuple[str, dict]:
    """The folder of a teacher and its test figures; the folder is its own or `teachers/<recipe>-<digest>`."""
    args = of_all_ranks(own)
    digest = teacher_digest(args, data)
    folder = teacher_folder(student, digest)
    metrics = finished_teacher(own, student, data)
    if metrics is None:
        with locked(folder, wait=True):
            # Another run may have trained it meanwhile.
            metrics = from_first_rank(lambda: _finished(folder, digest))
            if metrics is None:
                progress.say(f"Training the teacher {own.name} in {folder}")
                checkpoint = from_first_rank(lambda: last_complete_checkpoint(folder))  # of a run that was cut off
                with on_every_machine(checkpoint) as local:
                    metrics = train_in_folder(replace(args, output_dir=str(folder)), data, local, progress)
    figures = metrics["teacher"]
    if metrics.get("groups") != data.groups:  # trained for a run with other boundaries
        figures = {**figures, **dict.fromkeys(("head", "mid", "tail"))}
    return str(folder), figures


def finished_teacher(own: TeacherRecipe, student: StudentRecipe, data: RunData) -> dict | None:
    """The metrics of the teacher that a student's run will reuse; None where it is to be trained.

    Raises:
        RunError: its folder has a teacher of other settings.
    """
    digest = teacher_digest(of_all_ranks(own), data)
    return from_first_rank(lambda: _finished(teacher_folder(student, digest), digest))


def _finished(folder: Path, digest: str) -> dict | None:
    """The metrics of a teacher that is complete, None for one that is not; refuses one of another digest."""
    marked = METRICS if is_complete(folder) else SETTINGS
    if not (folder / marked).is_file():
        return None
    found = read_json(folder / marked)
    if found.get("digest") != digest or (marked == METRICS and "teacher" not in found):
        raise RunError(
            f"the teacher in {folder} comes from other images, other settings or another version; name another "
            f"--teacher_output_dir, or take it as it is with --teacher {folder}"
        )
    return found if marked == METRICS else None


def train_in_folder(args: TeacherArguments, data: RunData, checkpoint: str | None, progress: Progress) -> dict:
    """Train a teacher in its folder; metrics.json, which is written last, marks it as complete.

    Args:
        args: with the folder as `output_dir`.
        data: to train and test on.
        checkpoint: to resume from, or None.
        progress: shows the training.

    Returns:
        The contents of metrics.json.
    """
    folder, digest = Path(args.output_dir), teacher_digest(args, data)

    def begin_training(trainer: TeacherTrainer) -> None:
        progress.attach(trainer, TEACHER)
        if args.should_save:
            settings = deciding_settings(data.settings) | over_all_ranks(args)
            told = {"digest": digest, "settings": settings, "group_boundaries": data.settings.group_boundaries}
            begin(folder, "teacher", told | {"data": data.digest})

    with whole_networks():
        again = replace(args)  # made here, so that Trainer asks for no FSDP
        trained = train_teacher(
            again, data.splits, data.settings.boundaries, checkpoint, begin_training, pixels=data.pixels
        )
    metrics = {
        "teacher": trained.figures,
        "best_epoch_on_test": trained.best_epoch_on_test,
        **{name: getattr(args, name) for name in REPORTED},
        "epochs": args.num_train_epochs,
        "batch_size": args.global_batch_size,
        "class_counts": data.counts,
        "groups": data.groups,
        "group_boundaries": data.settings.group_boundaries,
        "wall_seconds": round(trained.seconds, 1),
        "images_per_second": round(trained.images_per_second, 1),
        "data": deciding_settings(data.settings),
        "device": args.device_in_words,
        "training_version": TRAINING_VERSION,
        "digest": digest,
    }
    if args.should_save:
        write_json(folder / METRICS, metrics)
    PartialState().wait_for_everyone()
    return metrics
