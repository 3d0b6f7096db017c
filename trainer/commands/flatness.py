"""How flat teachers' minima are: how far the loss rises where noise moves the weights.

RECIPE is a student's or a teacher's; only its data settings count, and each has a flag. The weights are moved by
random noise of a given norm (relative to theirs, filter by filter); how much the cross-entropy on training images
rises is printed, drawn in flatness.png and written to flatness.json. Compare teachers of one architecture and loss,
such as with and without SAM: the rise depends on the scale of the logits too.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from torch.utils.data import DataLoader

from trainer.arguments import DataArguments
from trainer.augmentation import EvaluationImages, image_processor
from trainer.commands.parser import CommandParser
from trainer.errors import TeacherError
from trainer.evaluation import head_mid_tail, plot_flatness
from trainer.parsing import make
from trainer.recipe_files import find_recipe, read_yaml
from trainer.run import RunData, prepare_data
from trainer.run.files import read_json, write_json
from trainer.settings import check_ranges, deciding_settings, setting
from trainer.teachers import Teacher, as_teacher, open_classifier
from trainer.teachers.arguments import TeacherArguments
from trainer.teachers.flatness import flatness_curve, perturbed_losses

WORDS = {"RECIPE": "stem of a recipe, a student's or a teacher's, or a YAML file"}
GROUPS = ("all", "head", "mid", "tail")


@dataclass
class FlatnessArguments:
    """What is measured, and how often."""

    _argument_group_name = "Flatness"

    teachers: list[str] = setting([], "Folders of teachers, one at least.")
    radii: list[float] = setting([0.1, 0.2, 0.3, 0.4, 0.6, 0.8], "Norms of the noise, relative to the weights'.")
    draws: int = setting(10, "Directions of the noise.")
    images_per_class: int = setting(50, "Training images of a class, at most.")
    seed: int = setting(0, "Seed of the images that are drawn and of the noise.")
    batch_size: int = setting(100, "Images at a time.")
    output: str | None = setting(None, "Folder of the results; runs/flatness_<recipe> if not given.")
    use_cpu: bool = setting(False, "Do not use an accelerator.")

    def __post_init__(self):
        whole = {"draws": "[2, inf)", "images_per_class": "[1, inf)", "seed": "[0, inf)", "batch_size": "[1, inf)"}
        check_ranges(self, whole)
        if not self.teachers:
            raise ValueError("the following arguments are required: --teachers")
        if not all(0 < radius < np.inf for radius in self.radii):
            raise ValueError(f"radii must be finite and above 0, got {' '.join(map(str, self.radii))}")


def main(words: list[str]) -> None:
    """Measure, print, draw, write."""
    recipe, settings, flags = parse(words)
    folder = Path(flags.output or f"runs/flatness_{recipe.stem}")
    args = TeacherArguments(output_dir=str(folder), use_cpu=flags.use_cpu)
    opened = {name: open_classifier(name) for name in flags.teachers}
    data = prepare_data(settings, args)
    names = data.names
    teachers = {
        name: as_teacher(found, len(names), class_names=names, pixels=data.pixels) for name, found in opened.items()
    }
    images = data.train.select(draw_rows(data.train, flags.images_per_class, flags.seed))
    curves = {name: measure(name, teacher, images, data, args.device, flags) for name, teacher in teachers.items()}
    content = {
        "recipe": recipe.stem,
        "data": deciding_settings(settings),
        **{key: getattr(flags, key) for key in ("draws", "images_per_class", "seed")},
        "images": len(images),
        "class_counts": data.counts,
        "groups": data.groups,
        "device": args.device_in_words,
        "teachers": {name: {"training": training_facts(name), **as_json(curve)} for name, curve in curves.items()},
    }
    if args.should_log:
        print(table(content))
    if args.should_save:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "flatness.json", content)
        plot_flatness(short_names(curves), folder / "flatness.png")


def parse(words: list[str]) -> tuple[Path, DataArguments, FlatnessArguments]:
    """Read the command line: a recipe's data settings, then flags, which win."""
    parser = CommandParser("flatness", __doc__, DataArguments, FlatnessArguments, words=WORDS)
    name, given = parser.parse(words)
    recipe = find_recipe(name, "students", "teachers")
    known = {entry.name for entry in fields(DataArguments)}
    written = {name: value for name, value in read_yaml(recipe).items() if name in known}
    return recipe, make(DataArguments, {**written, **given}), make(FlatnessArguments, given)


def draw_rows(dataset: Dataset, per_class: int, seed: int) -> np.ndarray:
    """Rows of at most `per_class` images of each class, in row order."""
    labels = np.asarray(dataset["label"])
    order = np.random.default_rng(seed).permutation(len(labels))
    return np.sort(np.concatenate([order[labels[order] == c][:per_class] for c in np.unique(labels)]))


def measure(
    name: str,
    teacher: Teacher,
    images: Dataset,
    data: RunData,
    device: torch.device,
    flags: FlatnessArguments,
) -> dict:
    """One teacher's `flatness_curve`, on images at its own size."""
    processor = image_processor(teacher.image_size, 1.0, data.pixels)
    batches = DataLoader(EvaluationImages(images, processor), flags.batch_size)
    radii = [0.0, *sorted(set(flags.radii))]
    num_classes = images.features["label"].num_classes
    losses = perturbed_losses(teacher.to(device), batches, num_classes, radii, flags.draws, flags.seed)
    if not np.isfinite(losses).all():
        raise TeacherError(f"the loss of the teacher {name} is not finite; check its weights, or take smaller --radii")
    return flatness_curve(losses, radii, head_mid_tail(data.counts, data.settings.boundaries))


def training_facts(name: str) -> dict | None:
    """How a teacher of `deit-lt train-teacher` was trained, with its test figures; None for one from elsewhere."""
    file = Path(name, "metrics.json")
    if not file.is_file():
        return None
    metrics = read_json(file)
    kept = ("architecture", "loss", "sam_rho", "drw_start_epoch", "epochs", "batch_size", "seed", "teacher")
    return {key: metrics[key] for key in kept if key in metrics}


def as_json(curve: dict) -> dict:
    """A curve with its means and deviations by name."""
    pairs = {group: curve[group] for group in GROUPS if group in curve}
    increase = {group: {"mean": mean, "std": std} for group, (mean, std) in pairs.items()}
    return {"radius": curve["radius"], "unperturbed_loss": curve["loss"], "loss_increase": increase}


def short_names(curves: dict[str, dict]) -> dict[str, dict]:
    """Folders by their last part, where no two have the same."""
    names = {name: Path(name).name for name in curves}
    return {short if list(names.values()).count(short) == 1 else name: curves[name] for name, short in names.items()}


def table(content: dict) -> str:
    """The figures for the terminal, one line per teacher and radius."""
    rows = [["teacher", "radius", *GROUPS]]
    for name, figures in content["teachers"].items():
        loss, increase = figures["unperturbed_loss"], figures["loss_increase"]
        rows.append([name, "0", *(f"{loss[g]:.3f}" if g in loss else "-" for g in GROUPS)])
        for r, radius in enumerate(figures["radius"][1:], start=1):
            cells = [f"{increase[g]['mean'][r]:+.3f}" if g in increase else "-" for g in GROUPS]
            rows.append([name, f"{radius:g}", *cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([r[0].ljust(widths[0]), *map(str.rjust, r[1:], widths[1:])]) for r in rows]
    caption = [
        f"Radius 0: cross-entropy on {content['images']} training images. Above: its rise where noise of that norm is "
        f"added to the weights, mean of {content['draws']} draws.",
        f"In nats, means over classes; {content['groups']}.",
    ]
    return "\n".join([*lines, *caption])
