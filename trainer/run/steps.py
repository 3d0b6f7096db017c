"""A run from its recipe to its folder: all its steps, in order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from accelerate import PartialState

from trainer.run.data import prepare_data
from trainer.run.dry_run import dry_run_student
from trainer.run.folder import begin, open_run
from trainer.run.recipes import StudentRecipe, student_recipe
from trainer.run.results import write_results
from trainer.run.student import Run, build_trainer, train_student, training_images
from trainer.run.summary import banner
from trainer.run.teacher import obtain_teacher, plan_teacher
from trainer.teachers import check_teacher


def finetune(recipe: str | Path, **settings) -> Run:
    """Train a student, and its teacher if asked: from long-tailed images to a report and a model folder.

    `finetune("imagefolder", dataset="path/to/images", output_dir="runs/mine")` is the command `deit-lt finetune`.

    Args:
        recipe: stem of a recipe that comes with the package (`deit-lt recipes`), or path of a YAML file.
        settings: those that win over the recipe's, by name.

    Returns:
        The run, with `model`, `reports` and `folder`.

    Raises:
        DeiTLTError: one line on what cannot be.
    """
    return run_student(student_recipe(recipe, settings))


def run_student(recipe: StudentRecipe, say: Callable[[str], None] = print) -> Run:
    """Train a student, and its teacher if asked: from long-tailed images to a report and a model folder.

    What settings and folders decide is refused before data are read, what the data decide before a teacher trains.

    Args:
        recipe: from `student_recipe`.
        say: gets what a person wants to read on the way, on the first rank. Default: `print`.

    Returns:
        The run; its folder opens in `pipeline("image-classification")`.

    Raises:
        DeiTLTError: one line on what cannot be.
    """
    args = recipe.training
    say = say if args.should_log else (lambda line: None)
    with open_run(args, "student") as checkpoint:
        plan = plan_teacher(recipe)
        dry_run_student(recipe)
        data = prepare_data(recipe.data, args, validation=args.model_selection == "validation")
        teacher = obtain_teacher(plan, recipe, data, say)
        accuracy = teacher and check_teacher(teacher.teacher, training_images(recipe, data), args.device)
        trainer = build_trainer(recipe, data, teacher)
        say(banner(recipe, data, teacher, accuracy, trainer))
        if args.should_save:
            begin(Path(args.output_dir), "student", recipe.asked)
        run = train_student(trainer, recipe, data, teacher, accuracy, checkpoint)
        if args.should_save:
            write_results(run)
        PartialState().wait_for_everyone()
    return run
