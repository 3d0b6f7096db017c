"""A report as text: an aligned table for the terminal, a Markdown table for model cards."""

import textwrap

from .groups import THRESHOLD_RULE
from .report import UNTESTED

_HEADINGS = {"balanced_accuracy": "balanced", "macro_f1": "macro F1", "g_mean": "G-mean", "ece": "ECE"}
_EXPERTS = {"cls": "CLS", "dist": "DIST"}


def format_report(report, rule=None, width=None):
    """Lay a report out as an aligned table of plain text, one row per expert, in percent.

    Args:
        report: what `expert_report` returns.
        rule: the line that names the grouping rules, from `group_rule(counts, boundaries)`. Default None: a line that
            leaves open where head, mid and tail are cut, since a report does not say.
        width: columns of the terminal; the last metrics are left out where they do not fit, and the captions wrapped.
            Default None: all of both.

    Returns:
        str of several lines without a trailing newline; "-" stands for a group without test images.
    """
    rows = _rows(report)
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    captions = _captions(report, rule)
    if width is not None:
        while sum(widths) + 2 * (len(widths) - 1) >= width and len(widths) > 2:
            del widths[-1]
        rows = [row[: len(widths)] for row in rows]
        captions = [textwrap.fill(caption, width - 1) for caption in captions]
    lines = [
        "  ".join([row[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)])
        for row in rows
    ]
    return "\n".join([*lines, *captions])


def markdown_table(report, rule=None):
    """Lay a report out as a Markdown table with its caption below, for a model card.

    Args:
        report: what `expert_report` returns.
        rule: as in `format_report`.

    Returns:
        str of several lines without a trailing newline.
    """
    heading, *body = [[cell.replace("|", r"\|") for cell in row] for row in _rows(report)]
    ruler = ["---"] + ["---:"] * (len(heading) - 1)
    lines = ["| " + " | ".join(row) + " |" for row in [heading, ruler, *body]]
    # Angle brackets would be read as HTML.
    captions = [line.replace("<", "&lt;").replace(">", "&gt;") for line in _captions(report, rule)]
    return "\n\n".join(["\n".join(lines), *captions])


def _rows(report):
    """The table as strings, heading first; both layouts are made from it."""
    experts = {name: numbers for name, numbers in report.items() if name != UNTESTED}
    metrics = list(next(reversed(experts.values())))  # in the report's order, which says what leads
    rows = [["expert", *(_HEADINGS.get(metric, metric) for metric in metrics)]]
    for name, numbers in experts.items():
        rows.append([_EXPERTS.get(name, name), *(_cell(numbers.get(metric)) for metric in metrics)])
    return rows


def _cell(number):
    return "-" if number is None else f"{number:.1f}"


def _captions(report, rule):
    rule = rule or f"head/mid/tail: by rank of training count; {THRESHOLD_RULE}"
    lines = [f"In percent. balanced: mean of the classes' accuracies; {rule}."]
    untested = report.get(UNTESTED)
    if untested:
        shown = ", ".join(str(label) for label in untested[:10]) + (", ..." if len(untested) > 10 else "")
        lines.append(f"{len(untested)} of the classes have no test images and are left out of the groups: {shown}.")
    return lines
