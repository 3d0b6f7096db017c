"""A run from its recipe to its folder: all its steps, in order."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path

from accelerate import PartialState

from trainer.machine import free_memory, threads_beside
from trainer.ranks import from_first_rank
from trainer.resuming import share_done
from trainer.run.batch_size import batch_that_fits, batch_to_begin_with, found_batch, told_batch
from trainer.run.data import prepare_data
from trainer.run.dry_run import dry_run_student, dry_run_teacher, refused_as
from trainer.run.estimate import estimate_run, estimate_teacher, is_sharded, told
from trainer.run.folder import begin, open_run, refuse_other_data
from trainer.run.progress import CHECK, TEACHER, Progress
from trainer.run.recipes import StudentRecipe, TeacherRecipe, student_recipe
from trainer.run.results import write_results
from trainer.run.student import Run, build_trainer, train_student
from trainer.run.summary import banner
from trainer.run.teacher import RunTeacher, obtain_teacher, plan_teacher, train_in_folder
from trainer.teachers import check_teacher
from trainer.terminal import wrapped
from trainer.trainer import DeiTLTTrainer


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


def run_student(recipe: StudentRecipe) -> Run:
    """Train a student, and its teacher if asked: from long-tailed images to a report and a model folder.

    What settings and folders decide is refused before data are read, what the data decide before a teacher trains.

    Args:
        recipe: from `student_recipe`.

    Returns:
        The run; its folder opens in `pipeline("image-classification")`.

    Raises:
        DeiTLTError: one line on what cannot be.
    """
    args, asked = recipe.training, recipe
    with (
        open_run(args, "student", asked.asked) as checkpoint,
        threads_beside(args.dataloader_num_workers, args.device),
    ):
        recipe, search = batch_to_begin_with(asked, checkpoint)
        plan = plan_teacher(recipe)
        dry_run_student(recipe)
        with closing(Progress(args)) as progress:
            progress.say(f"Reading and checking the images of {recipe.data.dataset}")
            data = prepare_data(recipe.data, args, validation=args.model_selection == "validation")
            from_first_rank(lambda: refuse_other_data(checkpoint, data.digest))
            if search:
                try_steps = partial(estimate_run, plan, data=data, checkpoint=checkpoint)
                recipe, seconds = batch_that_fits(recipe, len(data.train), try_steps)
                progress.say(told_batch(recipe))
            else:
                seconds = estimate_run(plan, recipe, data, checkpoint)
            free_memory()
            if seconds:
                progress.say(wrapped(told(seconds, recipe)))
            progress.plan(seconds)
            teacher = obtain_teacher(plan, recipe, data, progress)
            free_memory()
            trainer = build_trainer(recipe, data, teacher)
            accuracy = teacher and checked(teacher, trainer, progress)
            progress.say(banner(recipe, data, teacher, accuracy, trainer))
            if args.should_save:
                found = {} if recipe is asked else found_batch(recipe)
                begin(Path(args.output_dir), "student", asked.asked | {"data": data.digest} | found)
            run = train_student(trainer, recipe, data, progress, teacher, accuracy, checkpoint)
            if args.should_save:
                write_results(run)
            PartialState().wait_for_everyone()
    return run


def checked(teacher: RunTeacher, trainer: DeiTLTTrainer, progress: Progress) -> float:
    """The teacher's accuracy on training images as the student sees them; a teacher near chance is refused."""
    progress.begin(CHECK)
    return check_teacher(teacher.teacher, trainer.train_dataset, trainer.args.device)


def run_teacher(recipe: TeacherRecipe) -> dict:
    """Train a teacher for itself, from its recipe to its folder.

    Returns:
        The contents of its metrics.json.
    """
    args = recipe.training
    with (
        open_run(args, "teacher", recipe.asked) as checkpoint,
        threads_beside(args.dataloader_num_workers, args.device),
    ):
        dry_run_teacher(recipe, recipe.data.num_channels)
        with closing(Progress(args)) as progress:
            progress.say(f"Reading and checking the images of {recipe.data.dataset}")
            data = prepare_data(recipe.data, args)
            from_first_rank(lambda: refuse_other_data(checkpoint, data.digest))
            if not is_sharded(args):
                with refused_as("teacher"):
                    seconds = (1 - share_done(checkpoint)) * estimate_teacher(args, data)
                free_memory()
                progress.say(wrapped(told({TEACHER: seconds})))
                progress.plan({TEACHER: seconds})
            return train_in_folder(args, data, checkpoint, progress)
