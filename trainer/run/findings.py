"""What stands out in the figures of a run, in plain words, and the setting or the line that changes it."""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot

import numpy as np

from trainer.arguments import DistillationArguments
from trainer.evaluation import head_mid_tail, imbalance_ratio
from trainer.evaluation.noise import effective_images, margin, paired_difference
from trainer.run.recipes import StudentRecipe

# Points. A published student ends 0.7 to 2.8 above its PaCo+SAM teacher (arXiv 2404.02900, tables 2 to 4), and seeds
# differ by less than one.
FAR_BELOW = 3.0
# Points: less than this another seed turns round, however many test images there are.
WORTH_SAYING = 1.0
# Percent: below it the DIST expert learns more wrong labels than right ones.
MOST = 50.0
# Points up or down: what a teacher or DRW adds to a tail is mostly less than that.
WIDE = 10.0
# None of 5 right means a true accuracy below 45 % (95 %: 0.55 ** 5 = 0.05); none of 2 would mean nothing.
ENOUGH_IMAGES = 5
# Largest class over smallest in the mildest of the benchmarks that DRW was made for.
LONG_TAIL = 10.0
NAMED_CLASSES = 5


@dataclass(frozen=True)
class Outcome:
    """How a run ended, as far as findings rest on it.

    Attributes:
        recipe: what was asked for.
        names: (C,) the classes in the data's order.
        counts: (C,) training images per class.
        labels: (N,) of the test images.
        predicted: (N,) classes by each of "mean", "cls" and "dist".
        experts: their report, of the same predictions.
        teacher: figures of its own test, on the same images, or None.
        teacher_accuracy: on augmented training images, balanced, in percent; None without a teacher.
    """

    recipe: StudentRecipe
    names: list[str]
    counts: list[int]
    labels: np.ndarray
    predicted: dict[str, np.ndarray]
    experts: dict[str, dict]
    teacher: dict | None
    teacher_accuracy: float | None

    @property
    def leading(self) -> str:
        """The metric that leads the report: balanced accuracy, called accuracy where all classes are tested alike."""
        return next(iter(self.experts["mean"]))

    @property
    def metric(self) -> str:
        """Its name in words."""
        return self.leading.replace("_", " ")

    @property
    def teacher_figure(self) -> float | None:
        """The leading metric of the teacher, where it is known."""
        return None if self.teacher is None else self.teacher.get(self.leading)

    def figure(self, expert: str) -> float:
        """The leading metric of an expert."""
        return self.experts[expert][self.leading]

    def images_of(self, classes: np.ndarray) -> np.ndarray:
        """(N,) whether a test image is of one of these classes."""
        return np.isin(self.labels, classes)

    def groups(self) -> dict[str, np.ndarray]:
        """The classes of head, mid and tail."""
        return head_mid_tail(self.counts, self.recipe.data.boundaries)


def findings(outcome: Outcome) -> list[str]:
    """What stands out in a run, most important first: one or two sentences each, in Markdown.

    A difference is named where it exceeds what the number of test images leaves to chance (95 %).

    Args:
        outcome: of the run.

    Returns:
        Nothing for a run in which nothing stands out.
    """
    found = [
        _weak_teacher(outcome),
        _student_below_teacher(outcome),
        _disagreeing_teacher(outcome),
        _better_expert(outcome),
        _missed_tail(outcome) or _no_drw(outcome),
        _small_tail(outcome),
    ]
    return [text for text in found if text]


def teacher_is_weak(outcome: Outcome) -> bool:
    """Whether the teacher is less accurate than the CLS expert, which learns from the labels."""
    own = outcome.teacher_figure
    return own is not None and _exceeds(outcome.figure("cls"), own, effective_images(outcome.labels))


def far_below_teacher(outcome: Outcome) -> bool:
    """Whether it is the teacher that should be used, for now."""
    own, student = outcome.teacher_figure, outcome.figure("mean")
    if own is None or own - student < FAR_BELOW or teacher_is_weak(outcome):
        return False
    return _exceeds(own, student, effective_images(outcome.labels))


def _exceeds(first: float, second: float, images: float, of_second: float | None = None) -> bool:
    """Whether one accuracy is above another beyond chance, each a margin of two standard errors.

    They count as independent, since of a teacher no more is known; on the same images they vary together, so that
    this says too little rather than too much.
    """
    chance = hypot(margin(first, images), margin(second, of_second or images))
    return first - second > max(WORTH_SAYING, chance)


def _weak_teacher(outcome: Outcome) -> str | None:
    if not teacher_is_weak(outcome):
        return None
    own = outcome.recipe.teacher_recipe
    if own is None:
        remedy = "Train one longer with `deit-lt train-teacher`, or name another one with `--teacher`."
    else:
        epochs = own.training.num_train_epochs
        remedy = (
            f"Train it longer: `--teacher` with a copy of its recipe in which `num_train_epochs` is {2 * epochs:g} "
            f"instead of {epochs:g}."
        )
    return (
        f"The teacher ({outcome.teacher_figure:.1f} % {outcome.metric}) is weaker than the CLS expert "
        f"({outcome.figure('cls'):.1f} %), which learns from the labels. {remedy}"
    )


def _student_below_teacher(outcome: Outcome) -> str | None:
    if not far_below_teacher(outcome):
        return None
    own, student = outcome.teacher_figure, outcome.figure("mean")
    return (
        f"The student ({student:.1f} % {outcome.metric}) is still {own - student:.1f} points below its teacher "
        f"({own:.1f} %). Train it longer ({_longer(outcome.recipe.training)}), or use the teacher: "
        "`deit-lt classify TEACHER_FOLDER IMAGE`."
    )


def _disagreeing_teacher(outcome: Outcome) -> str | None:
    agreement = outcome.teacher_accuracy
    if agreement is None or agreement >= MOST:
        return None
    return (
        f"The teacher disagrees with most labels: it agrees with {agreement:.1f} % of the augmented training images, "
        "classes drawn equally often. See what it knows with `deit-lt evaluate-teacher RECIPE`, and whether it helps "
        "with `--teacher none`."
    )


def _better_expert(outcome: Outcome) -> str | None:
    """The share of an expert is not advised by the test split, which would then have been trained on."""
    best = max(("cls", "dist"), key=outcome.figure)
    ahead, error = paired_difference(outcome.predicted[best], outcome.predicted["mean"], outcome.labels)
    if ahead <= max(WORTH_SAYING, 2 * error):
        return None
    other, way = ("dist", "above") if best == "cls" else ("cls", "below")
    if other == "dist" and teacher_is_weak(outcome):
        remedy = "The DIST expert learns from the teacher, so a better teacher comes first"
    else:
        remedy = f"Train longer ({_longer(outcome.recipe.training)})"
    return (
        f"The {best.upper()} expert alone ({outcome.figure(best):.1f} % {outcome.metric}) beats the mean of both "
        f"({outcome.figure('mean'):.1f} %), which the {other.upper()} expert ({outcome.figure(other):.1f} %) pulls "
        f"down. {remedy}; set `--fusion_weight` {way} {outcome.recipe.model.fusion_weight:g} only if held-out "
        "training images (`--model_selection validation`) say the same, not by this test split."
    )


def _missed_tail(outcome: Outcome) -> str | None:
    tail = outcome.groups()["tail"]
    images = np.bincount(outcome.labels, minlength=len(outcome.counts))
    right = outcome.predicted["mean"] == outcome.labels
    hits = np.bincount(outcome.labels[right], minlength=len(outcome.counts))
    # Where nothing of the tail is right its images count together.
    together = not hits[tail].any() and images[tail].sum() >= ENOUGH_IMAGES
    enough = 1 if together else ENOUGH_IMAGES
    missed = [outcome.names[label] for label in tail if images[label] >= enough and not hits[label]]
    if not missed:
        return None
    named = ", ".join(f"`{name}`" for name in missed[:NAMED_CLASSES]) + (", ..." * (len(missed) > NAMED_CLASSES))
    return (
        f"Of {np.count_nonzero(images[tail])} tail classes that are tested, {len(missed)} "
        f"{'has' if len(missed) == 1 else 'have'} no correct test image: {named}. {_for_the_tail(outcome.recipe)}"
    )


def _for_the_tail(recipe: StudentRecipe) -> str:
    """What gives rare classes more weight: DRW, more of it, and a teacher that had it."""
    args, own = recipe.training, recipe.teacher_recipe
    epochs, start = args.num_train_epochs, args.drw_epoch
    if start is None:
        return _turn_on_drw(args)
    remedies = [f"train longer ({_longer(args)})"]
    if start > 0:
        earlier = max(0, int(2 * start - epochs))  # twice the epochs of DRW
        remedies.insert(0, f"start DRW earlier (`--drw_start_epoch {earlier}`, now {start} of {epochs:g} epochs)")
    if own is not None and own.training.loss != "paco" and own.training.drw_start_epoch is None:
        remedies.append("give the teacher DRW (`drw_start_epoch` in a copy of its recipe)")
    text = ", or ".join(remedies)
    return f"{text[0].upper()}{text[1:]}."


def _no_drw(outcome: Outcome) -> str | None:
    args, mean, groups = outcome.recipe.training, outcome.experts["mean"], outcome.groups()
    rho = imbalance_ratio(outcome.counts)
    if args.drw_start_epoch is not None or rho < LONG_TAIL or mean["tail"] is None or mean["head"] is None:
        return None
    head, tail = (effective_images(outcome.labels[outcome.images_of(groups[name])]) for name in ("head", "tail"))
    if not _exceeds(mean["head"], mean["tail"], head, tail):
        return None
    return (
        f"There was no DRW, though the largest class has {rho:.0f} times the images of the smallest and the tail "
        f"({mean['tail']:.1f} %) lags behind the head ({mean['head']:.1f} %). {_turn_on_drw(args)}"
    )


def _small_tail(outcome: Outcome) -> str | None:
    tail, classes = outcome.experts["mean"]["tail"], outcome.groups()["tail"]
    if tail is None:
        return None
    labels = outcome.labels[outcome.images_of(classes)]
    wide = margin(tail, effective_images(labels))
    if wide <= WIDE:
        return None
    fraction = outcome.recipe.data.test_fraction
    larger = min(2 * fraction, 0.5)
    if larger > fraction:
        remedy = f"`--test_fraction {larger:g}` (now {fraction:g}) tests on more images and trains on fewer."
    else:
        remedy = "Add test images of these classes before you compare runs by it."
    count, tested = len(labels), len(np.unique(labels))
    return (
        f"The tail's {tail:.1f} % rests on {count} test image{'s' * (count != 1)} of {tested} "
        f"class{'es' * (tested != 1)}, so chance alone may move it by {wide:.0f} points. {remedy}"
    )


def _longer(args: DistillationArguments) -> str:
    """Twice the epochs, with the same share of DRW."""
    start = args.drw_start_epoch
    drw = f" --drw_start_epoch {2 * start}" if start is not None and start >= 1 else ""  # below 1 it is a share
    return f"`--num_train_epochs {2 * args.num_train_epochs:g}{drw}`"


def _turn_on_drw(args: DistillationArguments) -> str:
    """The last tenth, as the recipes that come with the package."""
    return "`--drw_start_epoch 0.9` gives rare classes more weight in the last tenth of the epochs."
