"""What `deit-lt check-data` says of a data set before anything is trained: figures, and all that is wrong with it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from datasets import DatasetDict

from trainer.arguments import DataArguments
from trainer.data import (
    UNDECODABLE,
    check_all_images,
    class_counts,
    fingerprint,
    image_list_files,
    known_data,
    official_problems,
    told,
    undecodable_images,
)
from trainer.data.places import image_paths
from trainer.errors import DataError
from trainer.evaluation import group_rule, head_mid_tail, imbalance_ratio, many_medium_few
from trainer.machine import MOST_WORKERS
from trainer.terminal import counting

MISSING = "missing_files.txt"
HEADINGS = ("split", "images", "classes", "rho", "largest class", "smallest class")
WIDTH = 17  # of what a line is about


def figures(splits: DatasetDict, settings: DataArguments) -> str:
    """Images, classes, imbalance and groups, aligned.

    Args:
        splits: `train` and `test`.
        settings: with the boundaries of the groups.

    Raises:
        ValueError: boundaries that do not fit the classes.
    """
    names, rows = splits["train"].features["label"].names, [HEADINGS]
    for split, dataset in splits.items():
        counts = class_counts(dataset)
        rho = f"{imbalance_ratio(counts):.4g}" if counts.min() else "-"
        ends = [f"{counts[i]:,} ({names[i]})" for i in (counts.argmax(), counts.argmin())]
        rows.append((split, f"{len(dataset):,}", f"{np.count_nonzero(counts):,}", rho, *ends))
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = ["  ".join(_aligned(row, widths)).rstrip() for row in rows]
    counts = class_counts(splits["train"])
    rules = group_rule(counts, settings.boundaries).split("; ")
    for rule, groups in zip(rules, (head_mid_tail(counts, settings.boundaries), many_medium_few(counts)), strict=True):
        name, _, meaning = rule.partition(": ")
        sizes = " / ".join(f"{len(members):,}" for members in groups.values())
        lines.append(f"{name.ljust(WIDTH)}{sizes} classes: {meaning}")
    return "\n".join(lines)


def _aligned(row: tuple[str, ...], widths: list[int]) -> list[str]:
    numbers = {HEADINGS.index(name) for name in ("images", "classes", "rho")}
    cells = enumerate(zip(row, widths, strict=True))
    return [cell.rjust(width) if column in numbers else cell.ljust(width) for column, (cell, width) in cells]


def problems_of(
    splits: DatasetDict, settings: DataArguments, decode: str, sample: int, seed: int, folder: Path
) -> tuple[list[str], list[str]]:
    """Everything that is wrong with a data set, whose labels were checked.

    Args:
        splits: `train` and `test`.
        settings: where they come from.
        decode: "all" images, a "sample" of them, or "none". All are remembered, so that a run does not do it again.
        sample: images of the sample, of both splits together.
        seed: of the sample.
        folder: for the lists of missing files and of images that cannot be decoded.

    Returns:
        What was looked at, a line each; what is wrong, a line each.
    """
    facts, problems = _published(splits, settings)
    present, missing = _present(splits)
    problems += _missing_problems(missing, folder)
    facts.append(f"{'files'.ljust(WIDTH)}{sum(map(len, missing.values())):,} missing")
    if decode == "none":
        return facts, problems
    if decode == "all" and not any(missing.values()):
        found, count = _all_decoded(splits, settings, folder), sum(map(len, splits.values()))
    else:
        rows = present if decode == "all" else _sample(present, sample, seed)
        wrong, _ = undecodable_images(splits, MOST_WORKERS, settings.num_channels, rows, show=True)
        found, count = ([told(wrong, folder / UNDECODABLE)] if wrong else []), sum(map(len, rows.values()))
    facts.append(f"{'decoded'.ljust(WIDTH)}{count:,} images" + (", a sample" if decode == "sample" else ""))
    return facts, problems + found


def _published(splits: DatasetDict, settings: DataArguments) -> tuple[list[str], list[str]]:
    if settings.rho is not None:
        return [], []
    files = image_list_files(settings.dataset, settings.train_list, settings.test_list)
    files = [file for file in files or () if file is not None]
    counts, tested = class_counts(splits["train"]), len(splits["test"])
    known = known_data(counts, tested, files)
    facts = [f"{'lists'.ljust(WIDTH)}{', '.join(map(str, files))}"] if files else []
    if known is None:
        return facts, []
    facts.append(f"{'compared to'.ljust(WIDTH)}{known.name} as published")
    return facts, official_problems(known, counts, tested, files)


def _present(splits: DatasetDict) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
    """Of each split the rows whose images are there, and the paths of those that are not."""
    present, missing = {}, {}
    with counting("looking for files", sum(map(len, splits.values()))) as count:
        for split, dataset in splits.items():
            gone = []
            for row, path in image_paths(dataset):
                count(1)
                if not os.path.isfile(path):
                    gone.append((row, path))
            present[split] = np.delete(np.arange(len(dataset)), [row for row, _ in gone])
            missing[split] = [path for _, path in gone]
    return present, missing


def _missing_problems(missing: dict[str, list[str]], folder: Path) -> list[str]:
    paths = [path for gone in missing.values() for path in gone]
    if not paths:
        return []
    file = folder / MISSING
    file.write_text("".join(f"{path}\n" for path in paths))
    shares = ", ".join(f"{len(gone):,} of {split}" for split, gone in missing.items() if gone)
    return [f"{len(paths):,} files are missing ({shares}), the first {paths[0]}; all are listed in {file}"]


def _all_decoded(splits: DatasetDict, settings: DataArguments, folder: Path) -> list[str]:
    root = Path(settings.dataset).expanduser()
    states = {split: fingerprint(dataset, root).state for split, dataset in splits.items()}
    try:
        check_all_images(splits, MOST_WORKERS, settings.num_channels, states, folder / UNDECODABLE, show=True)
    except DataError as error:
        return [str(error)]
    return []


def _sample(present: dict[str, np.ndarray], sample: int, seed: int) -> dict[str, np.ndarray]:
    """Rows of both splits together, drawn alike; in their order."""
    total = sum(map(len, present.values()))
    drawn = np.random.default_rng(seed).choice(total, min(sample, total), replace=False)
    starts = np.cumsum([0, *map(len, present.values())])
    return {
        split: np.sort(rows[drawn[(drawn >= start) & (drawn < start + len(rows))] - start])
        for start, (split, rows) in zip(starts, present.items(), strict=False)
    }
