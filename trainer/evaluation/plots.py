"""Plots: accuracy per class against frequency, training curves, teachers' flatness."""

import csv
import itertools
from pathlib import Path

import numpy as np

from .groups import FEW_BELOW, MANY_ABOVE, rank_order

# Okabe and Ito's colours can be told apart with any colour vision; the markers do without colour.
_STYLES = (("#000000", "o"), ("#E69F00", "^"), ("#0072B2", "s"), ("#CC79A7", "D"), ("#009E73", "v"), ("#D55E00", "P"))
_EXPERTS = {"cls": "CLS", "dist": "DIST"}
_NAMED_CLASSES = 20
# Of more classes, with few test images each, the points of one expert cover those of the next.
_DRAWN_CLASSES = 2000
_LONGEST_NAME = 24

_PANELS = (
    ("loss", (("loss", "loss"), ("loss_cls", "CLS loss"), ("loss_dist", "DIST loss"))),
    ("teacher agreement", (("teacher_agreement", "teacher agrees with the label"),)),
    ("cosine", (("cls_dist_cosine", "CLS token to DIST token"),)),
    (
        "accuracy (%)",
        (
            ("eval_mean_accuracy", "mean"),
            ("eval_cls_accuracy", "CLS"),
            ("eval_dist_accuracy", "DIST"),
            ("eval_mean_balanced_accuracy", "mean, balanced"),
        ),
    ),
)

_FLATNESS_PANELS = {"all": "all classes", "head": "head", "mid": "mid", "tail": "tail"}


def plot_class_accuracy(report_accuracies, counts, class_names, path_png):
    """Draw each expert's accuracy per class against the class's training count, and write the numbers beside it.

    Up to 20 classes stand by name in the order of their rank. More are points over a logarithmic count axis, with one
    line per expert through the mean accuracies of classes with similar counts; of more than 2,000 the line alone. A
    class without training images is then drawn at 1.

    Args:
        report_accuracies: {expert name: (C,) percent, NaN for a class without test images}, from
            `per_class_accuracy`.
        counts: (C,) training images per class, in the data set's own label order.
        class_names: C strings in label order.
        path_png: where the picture goes; the table goes to the same name with the ending .csv, with the columns
            class, name, count and one per expert, in label order, an empty cell for NaN. Missing folders are made.

    Raises:
        ValueError: no expert, or counts, names and accuracies of different lengths.
    """
    order = rank_order(counts)
    if not report_accuracies:
        raise ValueError("there is no expert to plot")
    accuracies = {name: np.asarray(values, dtype=np.float64) for name, values in report_accuracies.items()}
    for owner, length in [("class names", len(class_names)), *((n, len(v)) for n, v in accuracies.items())]:
        if length != len(order):
            raise ValueError(f"there are {len(order)} class counts but {length} values for {owner!r}")

    path_png = Path(path_png)
    path_png.parent.mkdir(parents=True, exist_ok=True)
    _write_csv(path_png.with_suffix(".csv"), accuracies, counts, class_names)
    few_classes = len(order) <= _NAMED_CLASSES
    figure = _new_figure(width=max(4.5, 2.5 + 0.45 * len(order)) if few_classes else 8, height=4.5)
    axes = figure.subplots()
    if few_classes:
        _draw_by_name(axes, accuracies, np.asarray(counts), class_names, order)
    else:
        _draw_by_count(axes, accuracies, np.asarray(counts))
    axes.set_ylabel("accuracy (%)")
    axes.set_ylim(-4, 104)
    axes.grid(axis="y", alpha=0.3)
    # Above the axes: inside, it would hide points.
    figure.legend(loc="outside upper center", ncols=min(3, len(accuracies)), frameon=False)
    figure.savefig(path_png, format="png", dpi=150)


def plot_history(history, path_png):
    """Draw the training curves, one panel per kind of number, over the epochs.

    A dashed line marks deferred re-weighting (DRW): the first row whose "drw" is above 0 after a row where it was 0.

    Args:
        history: dicts as in history.jsonl. Drawn are the keys "loss", "loss_cls", "loss_dist", "teacher_agreement",
            "cls_dist_cosine", "eval_mean_accuracy", "eval_cls_accuracy", "eval_dist_accuracy" and
            "eval_mean_balanced_accuracy" of rows with an "epoch"; whatever is missing or None is left out.
        path_png: where the picture goes. Missing folders are made.

    Raises:
        ValueError: there is nothing to draw.
    """
    rows = [row for row in history if row.get("epoch") is not None]
    panels = [(title, _curves(rows, keys)) for title, keys in _PANELS]
    panels = [(title, curves) for title, curves in panels if curves]
    if not panels:
        raise ValueError("the history has no row with an epoch and a known number, so there is nothing to plot")

    figure = _new_figure(width=8, height=1.2 + 2 * len(panels))
    columns = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    switch = _drw_start(rows)
    for axes, (title, curves) in zip(columns, panels, strict=True):
        for (label, epochs, values), (colour, marker) in zip(curves, _STYLES, strict=False):
            # Markers only while single points can be told apart; a lone point has no line to be seen by.
            axes.plot(epochs, values, color=colour, marker=marker if len(epochs) <= 40 else None, ms=4, label=label)
        if switch is not None:
            axes.axvline(switch, color="0.4", linestyle="--", label="DRW starts" if axes is columns[0] else None)
        axes.set_ylabel(title)
        axes.grid(alpha=0.3)
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    columns[-1].set_xlabel("epoch")
    figure.align_ylabels()
    path_png = Path(path_png)
    path_png.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path_png, format="png", dpi=150)


def plot_flatness(curves, path_png):
    """Draw how much each teacher's loss rises when its weights are perturbed, one panel per group of classes.

    Args:
        curves: {teacher: {"radius": R norms of the perturbation relative to the weights', "all", "head", "mid",
            "tail": (R means, R standard deviations) of the increase over the unperturbed loss in nats}}, from
            `flatness_curve`. Only "all" must be there; a group that no teacher has gets no panel.
        path_png: where the picture goes. Missing folders are made.

    Raises:
        ValueError: there is no teacher.
    """
    if not curves:
        raise ValueError("there is no teacher to plot")
    groups = [group for group in _FLATNESS_PANELS if any(group in curve for curve in curves.values())]
    figure = _new_figure(width=1 + 2.8 * len(groups), height=3.6 + 0.2 * len(curves))
    columns = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    for axes, group in zip(columns, groups, strict=True):
        for (name, curve), (colour, marker) in zip(curves.items(), itertools.cycle(_STYLES)):
            if group in curve:
                radius, (mean, std) = curve["radius"], np.asarray(curve[group])
                axes.plot(radius, mean, color=colour, marker=marker, ms=5, label=name)
                axes.fill_between(radius, mean - std, mean + std, color=colour, alpha=0.15, linewidth=0)
        axes.set_title(_FLATNESS_PANELS[group], fontsize="medium")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.grid(alpha=0.3)
    columns[0].set_ylabel("loss increase (nats)")
    figure.supxlabel("norm of the perturbation / norm of the weights", fontsize="medium")
    # One below the other: names of runs are long.
    figure.legend(*columns[0].get_legend_handles_labels(), loc="outside upper center", frameon=False)
    path_png = Path(path_png)
    path_png.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path_png, format="png", dpi=150)


def _new_figure(width, height):
    # Imported here so that the numbers need no matplotlib; without pyplot the program's own backend stays as it is.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _draw_by_name(axes, accuracies, counts, class_names, order):
    # Side by side within a class: equal accuracies would hide each other.
    offsets = (np.arange(len(accuracies)) - (len(accuracies) - 1) / 2) * min(0.2, 0.7 / len(accuracies))
    places = np.arange(len(order))
    for (name, values), offset, (colour, marker) in zip(accuracies.items(), offsets, itertools.cycle(_STYLES)):
        axes.plot(places + offset, values[order], marker, color=colour, ms=6, label=_EXPERTS.get(name, name))
    for place in places[1:]:
        axes.axvline(place - 0.5, color="0.9", linewidth=0.8, zorder=0)
    labels = [f"{_short(class_names[label])} ({counts[label]:.0f})" for label in order]
    axes.set_xticks(places, labels, rotation=45, ha="right", rotation_mode="anchor", parse_math=False)
    axes.set_xlim(-0.6, len(order) - 0.4)
    axes.set_xlabel("class (training images), most frequent first")


def _draw_by_count(axes, accuracies, counts):
    places = np.maximum(counts, 1)
    # Bins of counts, not of ranks: classes of equal count must share one, or the line would zigzag on the spot.
    # The first and the last bin take in the extreme hundredths, so that no mean rests on a class or two of thousands.
    bins = np.digitize(places, np.geomspace(*np.quantile(places, [0.01, 0.99]), 13)[1:-1])
    for (name, values), (colour, marker) in zip(accuracies.items(), itertools.cycle(_STYLES)):
        if len(counts) <= _DRAWN_CLASSES:
            axes.plot(places, values, marker, color=colour, ms=3, alpha=0.25 if len(counts) > 200 else 0.5, mew=0)
        tested = ~np.isnan(values)
        members = [tested & (bins == each) for each in np.unique(bins[tested])]
        centres = [np.exp(np.log(places[m]).mean()) for m in members]
        means = [values[m].mean() for m in members]
        axes.plot(centres, means, color=colour, marker=marker, ms=6, label=_EXPERTS.get(name, name))
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    limits = [limit for limit in (FEW_BELOW, MANY_ABOVE) if places.min() < limit < places.max()]
    for limit in limits:
        axes.axvline(limit, color="0.5", linestyle=":", linewidth=1)
    note = f" (dotted: {' and '.join(map(str, limits))}, the few/medium/many limits)" if limits else ""
    axes.set_xlabel("training images of the class" + note)


def _short(name):
    name = " ".join(str(name).split())
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 3] + "..."


def _curves(rows, keys):
    """[(label, epochs, values)] of the keys that have a value in some row."""
    curves = []
    for key, label in keys:
        points = [(row["epoch"], row[key]) for row in rows if row.get(key) is not None]
        if points:
            curves.append((label, *zip(*points, strict=True)))
    return curves


def _drw_start(rows):
    flags = [(row["epoch"], row["drw"]) for row in rows if row.get("drw") is not None]
    turns = [now[0] for before, now in itertools.pairwise(flags) if before[1] == 0 and now[1] > 0]
    return turns[0] if turns else None


def _write_csv(path, accuracies, counts, class_names):
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["class", "name", "count", *accuracies])
        for label, (name, count) in enumerate(zip(class_names, counts, strict=True)):
            values = [values[label] for values in accuracies.values()]
            writer.writerow([label, name, int(count), *("" if np.isnan(v) else float(v) for v in values)])
