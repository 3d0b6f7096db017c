"""Measure what a student's teacher knows: `scripts/evaluate_teacher.py RECIPE.yaml [--flag value ...]`.

RECIPE is a student's; its teacher, or `--teacher`, is trained first, beside `--output_dir`, or reused. It is tested on
the test images, and on the training images that the student will show it, on one rank and without accumulation: plain,
augmented and mixed (Table 1 of the paper, arXiv 2404.02900). The figures go to teacher.json in `--output_dir`,
runs/evaluate_teacher_<recipe> if not given, whatever else that folder holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from building import data_facts, device_in_words, load_splits, write_json
from command_line import RecipeParser, run
from datasets import DatasetDict
from finetune import build_teacher

from trainer.arguments import DataArguments, DistillationArguments, ModelArguments
from trainer.augmentation import (
    BatchMixing,
    EvaluationImages,
    TrainingImages,
    TrainingSampler,
    image_processor,
    train_transform,
)
from trainer.data import class_counts
from trainer.errors import TeacherError
from trainer.evaluation import format_report, group_rule
from trainer.settings import check_ranges, setting
from trainer.teachers import Teacher
from trainer.teachers.behaviour import behaviour_on_test_images, behaviour_on_training_images

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


def main(arguments: list[str]) -> None:
    """Measure, print, write."""
    parser = RecipeParser((ModelArguments, DataArguments, DistillationArguments, MeasurementArguments), __doc__)
    # After the recipe's lines, before the flags: a recipe's output_dir is the student's.
    own_folder = f"--output_dir=runs/evaluate_teacher_{Path(*arguments[:1]).stem}"
    recipe, model_args, data, args, measurement = parser.parse([*arguments[:1], own_folder, *arguments[1:]])
    if args.teacher is None:
        raise TeacherError(f"{recipe} names no teacher; give one with --teacher")
    splits = load_splits(data, args, validation=args.model_selection == "validation")
    teacher, figures = build_teacher(recipe, data, args, splits)
    counts = class_counts(splits["train"])
    content = {
        "recipe": recipe.stem,
        "teacher": args.teacher,
        "own_test": figures,  # as its own recipe tests it: its size and transform, not the student's
        **measure(teacher, splits, model_args, data, args, measurement.num_images),
        "class_counts": counts.tolist(),
        "groups": group_rule(counts, data.boundaries),
        "data": data_facts(data),
        "image_size": model_args.image_size,
        "teacher_image_size": teacher.image_size,
        **{name: getattr(args, name) for name in SETTINGS},
        "device": device_in_words(args.device),
    }
    if args.should_log:
        print(tables(content))
    if args.should_save:
        folder = Path(args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "teacher.json", content)


def measure(
    teacher: Teacher,
    splits: DatasetDict,
    model_args: ModelArguments,
    data: DataArguments,
    args: DistillationArguments,
    num_images: int,
) -> dict[str, dict]:
    """The figures on the `test` images and on the `training` images, all as the student's recipe prepares them."""
    counts, size = class_counts(splits["train"]), model_args.image_size
    processor = image_processor(size, args.crop_ratio)
    mixing = BatchMixing(
        len(counts), args.mixup_alpha, args.cutmix_alpha, args.mixing_probability, args.label_smoothing, args.seed
    )
    test_images = EvaluationImages(splits["test"], processor)
    sampler = TrainingSampler.for_run(args, len(splits["train"]), args.repeats)
    return {
        "test": behaviour_on_test_images(
            teacher, test_images, counts, data.boundaries, args.device, args.per_device_eval_batch_size
        ),
        "training": behaviour_on_training_images(
            teacher,
            TrainingImages(splits["train"], train_transform(args.train_transform, size), args.seed),
            sampler,
            processor,
            mixing,
            data.boundaries,
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


if __name__ == "__main__":
    run(main)
