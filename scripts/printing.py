"""What a run says: the banner at its start, the table and the next step at its end."""

from __future__ import annotations

from pathlib import Path

from trainer.arguments import DataArguments
from trainer.evaluation import format_report, head_mid_tail, imbalance_ratio
from trainer.trainer import DeiTLTTrainer


def banner(recipe: Path, data: DataArguments, trainer: DeiTLTTrainer, facts: dict) -> str:
    """The run in a few lines, so that a wrong setting is seen before hours have passed.

    Args:
        recipe: its file.
        data: which images.
        trainer: ready to train.
        facts: `class_counts`, `groups`, `teacher` and `teacher_accuracy_on_training_images`.
    """
    args, counts = trainer.args, facts["class_counts"]
    groups = ", ".join(f"{name} {len(members)}" for name, members in head_mid_tail(counts, data.boundaries).items())
    parameters = sum(p.numel() for p in trainer.model.parameters()) / 1e6
    config = trainer.model.config
    steps = -(-trainer.images_per_epoch // args.global_batch_size)
    lines = {
        "recipe": f"{recipe} -> {args.output_dir}, seed {args.seed}",
        "data": f"{data.dataset}: {len(counts)} classes, {sum(counts)} training images, "
        f"{max(counts)} to {min(counts)} per class (rho {imbalance_ratio(counts):.4g}); classes: {groups}",
        "student": f"{parameters:.2f} M parameters, {config.num_hidden_layers} layers of width {config.hidden_size}, "
        f"{config.image_size} px, {(config.image_size // config.patch_size) ** 2} patches",
        "teacher": _teacher(args, facts),
        "loss": trainer.distillation_loss.formula(trainer.teacher is not None),
        "DRW": _drw(args),
        "schedule": f"{args.num_train_epochs:g} epochs of {steps} steps; batch {args.train_batch_size} x "
        f"{args.gradient_accumulation_steps} accumulated x {args.world_size} rank(s) = {args.global_batch_size}; "
        f"learning rate {args.learning_rate:.3g}, {args.lr_scheduler_type.value} {_floor(args)}".rstrip(),
        "selection": args.model_selection,
    }
    width = max(map(len, lines))
    return "\n".join(f"{name.ljust(width)}  {text}" for name, text in lines.items())


def _teacher(args, facts: dict) -> str:
    if args.teacher is None:
        return "none: the DIST expert learns the ground truth"
    text = f"{args.teacher}; {facts['teacher_accuracy_on_training_images']:.1f} % of augmented training images"
    own = facts["teacher"]
    if own is None:
        return text
    tail = "" if own["tail"] is None else f" (tail {own['tail']:.1f})"  # None where no tail class is tested
    return f"{text}, {own['accuracy']:.1f} % of its test set{tail}"


def _floor(args) -> str:
    floor = (args.lr_scheduler_kwargs or {}).get("min_lr")
    return "" if floor is None else f"to {floor:.3g}"


def _drw(args) -> str:
    if args.drw_start_epoch in (None, args.num_train_epochs):
        return "never"
    mixing = "with" if args.drw_mixing else "without"
    over = {"micro_batch": "each micro-batch", "step": "the optimiser step"}[args.drw_mean]
    return f"from epoch {args.drw_start_epoch} on, beta {args.drw_beta:g}, {mixing} mixing, weighted mean over {over}"


def final_table(metrics: dict) -> str:
    """The expert table of the weights that were saved, the teacher above; below, the last ones and the average."""
    rows = {"teacher": metrics["teacher"]} if metrics["teacher"] else {}
    rows |= metrics["best"] or metrics["last"]
    if metrics["best"]:
        rows["mean of last epoch"] = metrics["last"]["mean"]
    if metrics["ema"]:
        rows["mean of EMA"] = metrics["ema"]["mean"]
    return format_report(rows, metrics["groups"])


def next_steps(folder: str) -> str:
    """What to type next."""
    return (
        f"The model is in {folder}; its report is {folder}/README.md. Classify an image with it:\n"
        f"  python scripts/classify.py {folder} {folder}/example.png"
    )
