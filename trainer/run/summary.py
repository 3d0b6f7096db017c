"""Summary of a run for the terminal: settings before training, results after it."""

from __future__ import annotations

import textwrap

from trainer.augmentation import HostImages, steps_of_colour
from trainer.evaluation import format_report, head_mid_tail, imbalance_ratio
from trainer.run.data import RunData
from trainer.run.findings import far_below_teacher
from trainer.run.recipes import StudentRecipe
from trainer.run.student import Run
from trainer.run.teacher import RunTeacher
from trainer.terminal import columns, wrapped
from trainer.trainer import DeiTLTTrainer


def banner(
    recipe: StudentRecipe, data: RunData, teacher: RunTeacher | None, accuracy: float | None, trainer: DeiTLTTrainer
) -> str:
    """The run in a few lines, so that a wrong setting is seen before hours have passed.

    Args:
        recipe: what was asked for.
        data, teacher: of the run.
        accuracy: the teacher's on augmented training images, in percent.
        trainer: ready to train.
    """
    args, counts = recipe.training, data.counts
    groups = ", ".join(f"{name} {len(rows)}" for name, rows in head_mid_tail(counts, data.settings.boundaries).items())
    parameters = sum(p.numel() for p in trainer.model.parameters()) / 1e6
    config = trainer.model.config
    steps = -(-trainer.images_per_epoch // args.global_batch_size)
    lines = {
        "recipe": f"{recipe.name} -> {args.output_dir}, seed {args.seed}",
        "data": f"{data.settings.dataset}: {len(counts)} classes, {sum(counts)} training images, "
        f"{max(counts)} to {min(counts)} per class (rho {imbalance_ratio(counts):.4g}); classes: {groups}",
        "images": _pixels(data, trainer),
        "student": f"{parameters:.2f} M parameters, {config.num_hidden_layers} layers of width {config.hidden_size}, "
        f"{config.image_size} px, {(config.image_size // config.patch_size) ** 2} patches",
        "teacher": _teacher(teacher, accuracy),
        "loss": trainer.distillation_loss.formula(teacher is not None),
        "DRW": _drw(args),
        "schedule": f"{args.num_train_epochs:g} epochs of {steps} steps; batch {args.train_batch_size} x "
        f"{args.gradient_accumulation_steps} accumulated x {args.world_size} rank(s) = {args.global_batch_size}; "
        f"learning rate {args.peak_learning_rate:.3g}, {args.lr_scheduler_type.value} {_floor(args)}".rstrip(),
        "selection": args.model_selection,
        "machine": f"{args.device_in_words}{_compiled(trainer)}; {_images(trainer)}",
    }
    width = max(map(len, lines))
    return "\n".join(wrapped(f"{name.ljust(width)}  {text}", indent=width + 2) for name, text in lines.items())


def _teacher(teacher: RunTeacher | None, accuracy: float | None) -> str:
    if teacher is None:
        return "none: the DIST expert learns the ground truth"
    text = f"{teacher.name}; {accuracy:.1f} % of augmented training images"
    own = teacher.figures
    if own is None:
        return text
    tail = "" if own["tail"] is None else f" (tail {own['tail']:.1f})"  # None where no tail class is tested
    return f"{text}, {own['accuracy']:.1f} % of its test set{tail}"


def _compiled(trainer: DeiTLTTrainer) -> str:
    return ", compiled (the first step takes a minute or two)" if trainer.compiles else ""


def _images(trainer: DeiTLTTrainer) -> str:
    workers = f"{trainer.args.dataloader_num_workers} worker(s)"
    if isinstance(trainer.train_dataset, HostImages):
        return workers
    if trainer.train_dataset.resident:
        return "images kept and augmented on the device"
    return f"images decoded by {workers}, augmented on the device"


def _pixels(data: RunData, trainer: DeiTLTTrainer) -> str:
    """Channels and normalisation, and what of the augmentation needs colours that they do not have."""
    if data.pixels.is_rgb:
        return data.pixels.in_words
    left_out = [step for name in trainer.args.transforms for step in steps_of_colour(name)]
    without = f"; {trainer.args.train_transform} without {' and '.join(left_out)}" if left_out else ""
    return data.pixels.in_words + without


def _floor(args) -> str:
    floor = (args.schedule_settings or {}).get("min_lr")
    return "" if floor is None else f"to {floor:.3g}"


def _drw(args) -> str:
    if args.drw_epoch is None:
        return "never"
    mixing = "with" if args.drw_mixing else "without"
    over = {"micro_batch": "each micro-batch", "step": "the optimiser step"}[args.drw_mean]
    return f"from epoch {args.drw_epoch} on, beta {args.drw_beta:g}, {mixing} mixing, weighted mean over {over}"


def final_report(run: Run) -> str:
    """What a person reads at the end: the table, what stands out in it, and what to do with the result."""
    image = f"{run.folder}/{run.example}"
    lines = [
        final_table(run),
        *_findings(run.findings),
        wrapped(
            f"The model is in {run.folder}; its report is {run.folder}/README.md, all figures are in "
            f"{run.folder}/metrics.json. Classify an image with it:"
        ),
        f"  deit-lt classify {run.folder} {image}",
    ]
    if far_below_teacher(run.outcome):
        lines += ["or with its teacher, which is better:", f"  deit-lt classify {run.teacher.name} {image}"]
    return "\n".join(lines)


def _findings(texts: list[str]) -> list[str]:
    if not texts:
        return []
    # A flag stays in one piece, to be copied, and a figure with its %.
    bullet = textwrap.TextWrapper(
        80, initial_indent="- ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
    bullets = [bullet.fill(text.replace(" %", "\xa0%")).replace("\xa0", " ") for text in texts]
    return ["", "What stands out:", *bullets, ""]


def final_table(run: Run) -> str:
    """The expert table of the weights that were saved, the teacher above; below, the last ones and the average."""
    rows = {"teacher": run.teacher.figures} if run.teacher and run.teacher.figures else {}
    rows |= run.chosen
    if run.reports["best"]:
        rows["mean, last epoch"] = run.reports["last"]["mean"]
    if run.reports["ema"]:
        rows["mean of EMA"] = run.reports["ema"]["mean"]
    return format_report(rows, run.data.groups, columns())
