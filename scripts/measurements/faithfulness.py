"""Measure what docs/faithfulness.md claims: `python .../faithfulness.py [--cifar10 DATA] [--cifar100 DATA]`.

Needs no foreign source: each expected figure stands here with its origin. DATA, a folder or a Hub id, is needed for
the subsets alone. Prints a table, writes it to scripts/results/faithfulness.json, and exits with 1 where one is off.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import timm
import torch
from datasets import Image, disable_progress_bars, load_dataset
from torchvision.transforms.functional import to_pil_image

from modeling_deit_lt import DeiTLTConfig, DeiTLTModel
from trainer.arguments import DistillationArguments
from trainer.augmentation import TrainingSampler
from trainer.augmentation.autoaugment import apply_to_image, apply_to_stack
from trainer.data import long_tailed_counts, make_long_tailed
from trainer.reweighting import effective_number_weights
from trainer.run import student_recipe, teacher_recipe
from trainer.run.files import write_json
from trainer.teachers import PaCo, TeacherTrainer
from trainer.teachers.arguments import TeacherArguments
from trainer.teachers.cosine import CosineClassifier

SCRIPTS = Path(__file__).parents[1]
BATCH = 128  # images of a micro-batch in all published CIFAR runs
ARCHIVE = (3, 2, 1, 4, 0)  # CIFAR-10's blocks in the order of the archive's members, as a copy on the Hub has them
TWO_RANKS = "rule and random numbers of the official sampler on two ranks"


@dataclass
class Figure:
    """A figure of the sources, None where they have none, and ours."""

    what: str
    expected: float | None
    origin: str
    measured: float
    tolerance: float = 0.0

    @property
    def equal(self) -> bool:
        """Whether ours is the sources', within what sampling and rounding leave open."""
        return self.expected is None or abs(self.measured - self.expected) <= self.tolerance


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar10", help="CIFAR-10, a folder or a Hub id; without it its subset is not looked at")
    parser.add_argument("--cifar100", help="CIFAR-100, likewise")
    parser.add_argument("--results", type=Path, default=SCRIPTS / "results" / "faithfulness.json", help="result file")
    args = parser.parse_args()
    disable_progress_bars()
    torch.manual_seed(0)
    figures = [*views(), *steps(), *weights(), *initialisation(), *grey()]
    if args.cifar10:
        figures += subsets("CIFAR-10", args.cifar10, "img", "label", 12_406, ARCHIVE)
    if args.cifar100:
        figures += subsets("CIFAR-100", args.cifar100, "img", "fine_label", 10_847, (0,))
    print(table(figures))
    write_json(args.results, {"figures": [{**asdict(figure), "equal": figure.equal} for figure in figures]})
    sys.exit(0 if all(figure.equal for figure in figures) else 1)


def views(epochs: int = 2000) -> list[Figure]:
    """Distinct images of a micro-batch, and what the rarest class weighs in it during DRW."""
    figures = []
    for name, classes, per_class in (("CIFAR-10-LT", 10, 5000), ("CIFAR-100-LT", 100, 500)):
        counts = long_tailed_counts([per_class] * classes, 100, "exp")
        labels, class_weights = np.repeat(np.arange(classes), counts), effective_number_weights(counts).numpy()
        sampler = TrainingSampler(len(labels), BATCH, multiple_of=2 * BATCH)
        distinct, shares, together, step_shares, official = [], [], [], [], []
        for epoch in range(epochs):
            sampler.set_epoch(epoch)
            keys = list(sampler)
            rows = np.array([row for row, *_ in keys])
            shares.append(rarest_share(labels[rows].reshape(-1, BATCH), class_weights))
            distinct += [len(np.unique(batch)) for batch in rows.reshape(-1, BATCH)[:10]]
            neighbours = rows[np.argsort([position for *_, position in keys])]
            together.append(rarest_share(labels[neighbours].reshape(-1, BATCH), class_weights))
            steps = rows[: len(rows) // 1024 * 1024].reshape(-1, 1024)
            step_shares.append(rarest_share(labels[steps], class_weights))
            official += [
                rarest_share(labels[batches], class_weights) for batches in official_batches(epoch, len(labels))
            ]
        what = f"{name}, rho 100: the rarest class's part of the DIST loss in DRW, over an equal share"
        (ours, error), (theirs, their_error) = mean_and_error(shares), mean_and_error(official)
        tolerance = round(4 * (error**2 + their_error**2) ** 0.5, 3)
        figures += [
            Figure(f"{name}: distinct images of {BATCH}", 86, TWO_RANKS, round(float(np.mean(distinct)), 1), 0.5),
            Figure(what, theirs, f"{TWO_RANKS}, as many epochs", ours, tolerance),
            Figure(f"{what}; all views of an image in one batch", None, "neither's", mean_and_error(together)[0]),
            Figure(f"{what}; drw_mean step of 1,024 images", None, "ours alone", mean_and_error(step_shares)[0]),
        ]
    return figures


def official_batches(epoch: int, images: int) -> list[np.ndarray]:
    """The rows of both ranks' micro-batches, by the rule of the official sampler, its random numbers included."""
    generator = torch.Generator().manual_seed(epoch)
    rows = torch.randperm(images, generator=generator).repeat_interleave(3).numpy()
    return [rows[rank::2][: images // 256 * 128].reshape(-1, BATCH) for rank in (0, 1)]


def mean_and_error(parts: list[np.ndarray]) -> tuple[float, float]:
    """Mean and standard error of all numbers in a list of arrays."""
    values = np.concatenate(parts)
    return round(float(values.mean()), 3), float(values.std() / len(values) ** 0.5)


def rarest_share(labels: np.ndarray, class_weights: np.ndarray) -> np.ndarray:
    """C times the last class's share of the label weights of each batch, where a teacher says the truth."""
    weights = class_weights[labels]
    rarest = len(class_weights) - 1
    return (rarest + 1) * (weights * (labels == rarest)).sum(axis=1) / weights.sum(axis=1)


def steps() -> list[Figure]:
    """Optimiser steps of an epoch by the shipped recipes, and the epochs at which PaCo's rate falls."""
    figures = []
    for data, images, student, paco, ldam in (("cifar10", 12_406, 12, 96, 97), ("cifar100", 10_847, 11, 84, 85)):
        rows = (
            (f"{data}_lt_rho100", student, "official sampler: N // 256 * 256 samples, 1,024 a step"),
            (f"teachers/{data}_resnet32_paco_sam", paco, "PaCo's loader: drop_last"),
            (f"teachers/{data}_resnet32_ldam_drw_sam", ldam, "Saddle-LongTail's loader: no drop_last"),
        )
        for recipe, expected, origin in rows:
            args = settings(recipe)
            sampler = TrainingSampler.for_run(args, images)
            measured = -(-len(sampler) // args.global_batch_size)
            figures.append(Figure(f"{recipe}: optimiser steps an epoch", expected, origin, measured))
    with tempfile.TemporaryDirectory() as folder:  # a trainer makes its output folder
        args = settings("teachers/cifar100_resnet32_paco", eval_strategy="no", output_dir=folder)
        trainer = TeacherTrainer(timm.create_model("resnet8_cifar"), args, [1] * 10)
        trainer.create_optimizer()
        rate = trainer.create_scheduler(num_training_steps=84 * 400).lr_lambdas[0]
    for epoch, factor in ((320, 1.0), (321, 0.1), (360, 0.1), (361, 0.01)):
        what = f"PaCo's learning rate in epoch {epoch} (0-based) over its first"
        figures.append(Figure(what, factor, "PaCo's code: epoch > 320, epoch > 360", rate(84 * epoch), 1e-9))
    return figures


def settings(recipe: str, **given) -> DistillationArguments | TeacherArguments:
    """The training arguments of a shipped recipe, on the CPU."""
    read = teacher_recipe if recipe.startswith("teachers/") else student_recipe
    return read(recipe.removeprefix("teachers/"), {"use_cpu": True, "bf16": False, **given}).training


def weights() -> list[Figure]:
    """The class weights of DRW."""
    origin, figures = "calculated with the official formula", []
    for classes, per_class, first, last in ((10, 5000, 0.051, 3.993), (100, 500, 0.045, 4.378)):
        found = effective_number_weights(long_tailed_counts([per_class] * classes, 100, "exp")).tolist()
        for which, expected, measured in (("largest", first, found[0]), ("rarest", last, found[-1])):
            what = f"DRW weight of the {which} of {classes} classes, rho 100"
            figures.append(Figure(what, expected, origin, round(measured, 4), 5e-4))
    return figures


def initialisation() -> list[Figure]:
    """Norms and standard deviations of fresh weights."""
    rows = CosineClassifier(64, 100).weight.norm(dim=1)
    paco = PaCo(timm.create_model("resnet32_cifar", num_classes=100))
    embeddings = DeiTLTModel(DeiTLTConfig.from_preset("base")).embeddings
    head = timm.create_model("resnet32_cifar", num_classes=100).get_classifier()
    kaiming, default = (2 / 64) ** 0.5, (1 / (3 * 64)) ** 0.5
    normed = "LDAM-DRW's code: columns of length 1"
    first, *_, last = paco.head
    rows_of = [
        ("shortest row of a cosine classifier", 1.0, normed, rows.min(), 1e-5),
        ("longest row of a cosine classifier", 1.0, normed, rows.max(), 1e-5),
        ("CIFAR ResNet's linear head, deviation", kaiming, "their code: Kaiming normal", head.weight.std(), 0.01),
        ("PaCo's last MLP layer, deviation", kaiming, "PaCo's code: Kaiming normal", last.weight.std(), 0.015),
        ("PaCo's first MLP layer, deviation", default, "PaCo's code: torch's default", first.weight.std(), 0.005),
        ("PaCo's class centres, deviation", default, "the same", paco.classifier.fc.weight.std(), 0.005),
        ("CLS token, deviation", 1e-6, "official student: normal 1e-6", embeddings.cls_token.std(), 1.5e-7),
        ("DIST token, deviation", 0.02, "official student", embeddings.distillation_token.std(), 0.003),
        ("position embeddings, deviation", 0.02, "official student", embeddings.position_embeddings.std(), 0.001),
    ]
    return [
        Figure(what, expected, origin, float(f"{measured.item():.4g}"), tolerance)
        for what, expected, origin, measured, tolerance in rows_of
    ]


def grey() -> list[Figure]:
    """What AutoAugment leaves in a corner of a white image of 32 pixels, one image and a stack."""
    white, origin = torch.full((1, 3, 32, 32), 255, dtype=torch.uint8), "PaCo's code fills with (128, 128, 128)"
    figures = []
    for name, level in (("Rotate", 2), ("ShearY", 8), ("TranslateX", 9), ("TranslateY", 9)):
        single = np.asarray(apply_to_image(to_pil_image(white[0]), name, level))
        stack = apply_to_stack(white, name, level)[0]
        figures += [
            Figure(f"AutoAugment's {name}, darkest pixel of white, one image", 128, origin, int(single.min())),
            Figure(f"AutoAugment's {name}, darkest pixel of white, a stack", 128, origin, int(stack.min())),
        ]
    shift = apply_to_stack(torch.arange(32, dtype=torch.uint8).expand(1, 3, 32, 32).contiguous(), "TranslateX", 8)
    what, origin = "AutoAugment's TranslateX, pixels at level 8", "PaCo's code: 12.89, to the nearest pixel"
    return [*figures, Figure(what, 13, origin, int(shift[0, 0, 0, 0]))]


def subsets(name: str, data: str, image: str, label: str, images: int, order: tuple[int, ...]) -> list[Figure]:
    """Whether a copy with permuted blocks of rows gives the subset of the original order, image for image."""
    train = load_dataset(data, split="train").cast_column(image, Image(decode=False))
    labels = np.array(train[label][:])
    published = published_rows(labels, long_tailed_counts(np.bincount(labels), 100, "exp"))
    blocks = np.split(np.arange(len(train)), len(order))
    permuted = train.select(np.concatenate([blocks[block] for block in order]))
    found = make_long_tailed(permuted, rho=100, label_column=label)
    theirs, ours = train.select(published)[image], found[image]
    same = sum(a["bytes"] == b["bytes"] for a, b in zip(theirs, ours, strict=True))
    what = f"{name}-LT, rho 100, from blocks in the order {', '.join(str(block + 1) for block in order)}: equal images"
    return [Figure(what, images, "numpy seeded with 0; each class shuffled, the first n_i kept", same)]


def published_rows(labels: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The draw in the words of its authors (LDAM-DRW, Cao et al. 2019), on rows in the original order."""
    generator, kept = np.random.RandomState(0), []
    for label, count in enumerate(counts):
        rows = np.flatnonzero(labels == label)
        generator.shuffle(rows)
        kept.append(rows[:count])
    return np.concatenate(kept)


def table(figures: list[Figure]) -> str:
    """The figures as Markdown."""
    lines = ["| figure | expected | measured | equal | origin |", "|---|---|---|---|---|"]
    for f in figures:
        equal = "-" if f.expected is None else "yes" if f.equal else "**no**"
        expected = "-" if f.expected is None else f"{f.expected:.5g}"
        lines.append(f"| {f.what} | {expected} | {f.measured:.5g} | {equal} | {f.origin} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
