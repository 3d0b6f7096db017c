"""Measure what a student's teacher knows of the images that it will be shown.

RECIPE is a student's; its teacher, or `--teacher`, is trained first, beside `--output_dir`, or reused. It is tested on
the test images, and on the training images that the student will show it, on one rank and without accumulation: plain,
augmented and mixed (Table 1 of the paper, arXiv 2404.02900). The figures go to teacher.json in `--output_dir`,
runs/evaluate_teacher_<recipe> if not given, whatever else that folder holds.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from trainer.arguments import DataArguments, DistillationArguments, ModelArguments
from trainer.augmentation import (
    BatchMixing,
    EvaluationImages,
    TrainingSampler,
    image_processor,
)
from trainer.commands.parser import CommandParser
from trainer.errors import TeacherError
from trainer.evaluation import format_report
from trainer.parsing import make, take
from trainer.recipe_files import find_recipe
from trainer.run import RunData, StudentRecipe, obtain_teacher, plan_teacher, prepare_data, student_recipe
from trainer.run.files import write_json
from trainer.run.progress import Progress
from trainer.run.student import training_images
from trainer.settings import check_ranges, deciding_settings, setting
from trainer.teachers import Teacher
from trainer.teachers.behaviour import behaviour_on_test_images, behaviour_on_training_images

WORDS = {"RECIPE": "stem of a student's recipe that `deit-lt recipes` lists, or a YAML file"}
# What decides which images the teacher is shown.
SETTINGS = (
    *("train_transform", "crop_ratio", "repeats", "mixup_alpha", "cutmix_alpha", "mixing_probability"),
    *("label_smoothing", "per_device_train_batch_size", "drop_partial_batches", "model_selection", "seed"),
    "teacher_normalization",
)


@dataclass
class MeasurementArguments:
    """How much is measured."""

    _argument_group_name = "Measurement"

    num_images: int = setting(10000, "Training images to draw, in whole batches.")

    def __post_init__(self):
        check_ranges(self, {"num_images": "[1, inf)"})


def main(words: list[str]) -> None:
    """Measure, print, write."""
    kinds = (ModelArguments, DataArguments, DistillationArguments, MeasurementArguments)
    name, given = CommandParser("evaluate-teacher", __doc__, *kinds, words=WORDS).parse(words)
    path = find_recipe(name)
    num_images = make(MeasurementArguments, take(given, MeasurementArguments)).num_images
    # The recipe's own output_dir is the student's.
    recipe = student_recipe(path, {"output_dir": f"runs/evaluate_teacher_{path.stem}", **given})
    args, folder = recipe.training, Path(recipe.training.output_dir)
    if args.teacher is None:
        raise TeacherError(f"{path} names no teacher; give one with --teacher")
    plan = plan_teacher(recipe)
    data = prepare_data(recipe.data, args, validation=args.model_selection == "validation")
    with closing(Progress(args)) as progress:
        teacher = obtain_teacher(plan, recipe, data, progress)
    content = {
        "recipe": recipe.name,
        "teacher": teacher.name,
        "own_test": teacher.figures,  # as its own recipe tests it: its size and transform, not the student's
        **measure(teacher.teacher, data, recipe, num_images),
        "class_counts": data.counts,
        "groups": data.groups,
        "data": deciding_settings(data.settings),
        "image_size": recipe.model.image_size,
        "teacher_image_size": teacher.teacher.image_size,
        **{name: getattr(args, name) for name in SETTINGS},
        "device": args.device_in_words,
    }
    if args.should_log:
        print(tables(content))
    if args.should_save:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "teacher.json", content)


def measure(teacher: Teacher, data: RunData, recipe: StudentRecipe, num_images: int) -> dict[str, dict]:
    """The figures on the `test` images and on the `training` images, all as the student's recipe prepares them."""
    args, boundaries = recipe.training, data.settings.boundaries
    processor = image_processor(recipe.model.image_size, args.crop_ratio, data.pixels)
    smoothing = args.label_smoothing
    mixing = BatchMixing(
        len(data.counts), args.mixup_alpha, args.cutmix_alpha, args.mixing_probability, smoothing, args.seed
    )
    test_images = EvaluationImages(data.splits["test"], processor)
    return {
        "test": behaviour_on_test_images(
            teacher, test_images, data.counts, boundaries, args.device, args.eval_batch_size
        ),
        "training": behaviour_on_training_images(
            teacher,
            training_images(recipe, data.train, data.pixels),
            TrainingSampler.for_run(args, len(data.train)),
            processor,
            mixing,
            boundaries,
            args.device,
            num_images=num_images,
            num_workers=args.dataloader_num_workers,
        ),
    }


def tables(content: dict) -> str:
    """The figures for the terminal."""
    mixed = content["training"]["mixed"]
    return "\n".join(
        [
            f"Test images, at the student's {content['image_size']} px and in its normalisation:",
            format_report(content["test"], content["groups"]),
            "",
            f"{mixed['images']} training images, as the student's training first shows them:",
            training_table(content["training"]),
            "In percent. accuracy: says the label, or the larger share of a mixed one; balanced, head, mid and tail: "
            "means over classes;",
            f"either: one of the two labels of a mixed image. {mixed['mixed_images']:.0f} % of the mixed view's "
            "images are mixed; DRW without mixing shows the augmented view.",
            "Paper, Table 1 (ResNet-32, CIFAR-10-LT): the less accurate on what it is shown, the better its student: "
            "97.2 (weak) -> 54.2, 71.9 (strong) -> 69.6, 56.6 (strong, mixed) -> 79.4.",
        ]
    )


def training_table(views: dict[str, dict]) -> str:
    """One line per view of the training images."""
    numbers = ("accuracy", "balanced_accuracy", "head", "mid", "tail", "either")
    heading = [
        "view",
        "accuracy",
        "balanced",
        "head",
        "mid",
        "tail",
        "either",
        "teacher says h/m/t",
        "labels are h/m/t",
    ]
    rows = [heading]
    for name, figures in views.items():
        cells = [_cell(figures.get(key)) for key in numbers]
        shares = ["/".join(map(_cell, figures[key].values())) for key in ("teacher_labels", "true_labels")]
        rows.append([name, *cells, *shares])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )


def _cell(number: float | None) -> str:
    return "-" if number is None else f"{number:.1f}"
