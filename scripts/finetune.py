"""Train a DeiT-LT student, and its teacher if asked: `scripts/finetune.py RECIPE.yaml [--flag value ...]`.

Everything from a long-tailed data set to a report and a model folder that `pipeline("image-classification")` opens.
"""

from __future__ import annotations

from pathlib import Path

from building import data_facts, device_in_words, load_splits, prepare_output_folder
from command_line import RecipeParser, run
from datasets import DatasetDict
from huggingface_hub.errors import StrictDataclassError
from printing import banner, final_table, next_steps
from results_folder import write_results
from train_teacher import is_recipe, teacher_from_recipe
from transformers import set_seed

from modeling_deit_lt import DeiTLTConfig, DeiTLTForImageClassification
from trainer.arguments import DataArguments, DistillationArguments, ModelArguments
from trainer.augmentation import EvaluationImages, TrainingImages, image_processor, train_transform
from trainer.data import class_counts
from trainer.errors import RunError
from trainer.evaluation import group_rule
from trainer.teachers import Teacher, check_teacher, load_teacher
from trainer.teachers.class_names import read_class_names
from trainer.trainer import DeiTLTTrainer

SELECTION_SPLIT = {"last": None, "validation": "validation", "paper": "test"}


def main(arguments: list[str]) -> None:
    """From a recipe to a model folder."""
    parser = RecipeParser((ModelArguments, DataArguments, DistillationArguments), __doc__)
    recipe, model_args, data, args = parser.parse(arguments)
    checkpoint = prepare_output_folder(args)
    splits = load_splits(data, args, validation=args.model_selection == "validation")
    counts = class_counts(splits["train"])
    images = TrainingImages(splits["train"], train_transform(args.train_transform, model_args.image_size), args.seed)

    teacher, teacher_figures = build_teacher(recipe, data, args, splits)
    facts = {
        "class_counts": counts.tolist(),
        "groups": group_rule(counts, data.boundaries),
        "group_boundaries": data.group_boundaries,
        "data": data_facts(data),
        "teacher": teacher_figures,
    }
    if teacher is not None:
        facts["teacher_accuracy_on_training_images"] = check_teacher(teacher, images, args.device)

    processor = image_processor(model_args.image_size, args.crop_ratio)
    selection_split = SELECTION_SPLIT[args.model_selection]
    trainer = DeiTLTTrainer(
        build_student(model_args, splits["train"].features["label"].names, counts, args.seed),
        args,
        teacher,
        data.boundaries,
        train_dataset=images,
        eval_dataset=EvaluationImages(splits[selection_split], processor) if selection_split else None,
        processing_class=processor,
    )
    if args.should_log:
        print(banner(recipe, data, trainer, facts), flush=True)
    output = trainer.train(resume_from_checkpoint=checkpoint)
    reports, prediction = trainer.evaluate_weights(EvaluationImages(splits["test"], processor))
    trainer.save_model()
    seconds = output.metrics["train_runtime"]
    metrics = {
        **facts,
        **reports,
        "resumed_from_step": trainer.history.first_step,
        "wall_seconds": round(seconds, 1),  # of this process, as the images per second
        "images_per_second": round(trainer.images_per_second(seconds), 1),
        "device": device_in_words(args.device),
        "recipe": recipe.stem,
        "seed": args.seed,
        "epochs": args.num_train_epochs,
        "model_selection": args.model_selection,
    }
    if args.should_save:
        write_results(Path(args.output_dir), metrics, prediction, splits, (model_args, data, args))
    if args.should_log:
        print(final_table(metrics))
        print(next_steps(args.output_dir))


def build_teacher(
    recipe: Path, data: DataArguments, args: DistillationArguments, splits: DatasetDict
) -> tuple[Teacher | None, dict | None]:
    """The teacher of a student's recipe, trained first or reused where it is a recipe itself.

    Args:
        recipe: the student's.
        data: the student's data settings.
        args: the student's training settings; `args.teacher` becomes the folder of a teacher from a recipe.
        splits: the student's data.

    Returns:
        The teacher with the data's classes in the data's order, and its own test figures where its recipe was given;
        None and None for a recipe without a teacher.
    """
    if args.teacher is None:
        return None, None
    outputs = read_class_names(args.teacher_class_names) if args.teacher_class_names else None
    figures = None
    if is_recipe(args.teacher):
        args.teacher, figures = teacher_from_recipe(Path(args.teacher), recipe, data, args, splits)
    names = splits["train"].features["label"].names
    teacher = load_teacher(
        args.teacher,
        len(names),
        args.teacher_image_size,
        args.teacher_normalization,
        class_names=names,
        teacher_class_names=outputs,
    )
    return teacher, figures


def build_student(model_args: ModelArguments, names: list[str], counts, seed: int) -> DeiTLTForImageClassification:
    """A student with fresh weights that depend on the seed alone."""
    given = {key: value for key, value in vars(model_args).items() if key != "preset" and value is not None}
    attention = given.pop("attn_implementation")
    try:
        config = DeiTLTConfig.from_preset(
            model_args.preset,
            **given,
            id2label=dict(enumerate(names)),
            label2id={name: index for index, name in enumerate(names)},
            class_counts=counts.tolist(),
        )
    except StrictDataclassError as error:
        raise RunError(f"student: {error.__cause__ or error}") from error
    config._attn_implementation = attention
    set_seed(seed)
    try:
        return DeiTLTForImageClassification(config)
    except (ValueError, ImportError) as error:  # an attention that is not known, or not installed
        raise RunError(f"student with {attention} attention: {' '.join(str(error).split())}") from error


if __name__ == "__main__":
    run(main)
