"""A report as text: an aligned table for the terminal, a Markdown table for model cards."""

from .groups import THRESHOLD_RULE
from .report import METRICS, UNTESTED

_HEADINGS = {"macro_f1": "macro F1", "g_mean": "G-mean", "ece": "ECE"}
_EXPERTS = {"cls": "CLS", "dist": "DIST"}


def format_report(report, rule=None):
    """Lay a report out as an aligned table of plain text, one row per expert, in percent.

    Args:
        report: what `expert_report` returns.
        rule: the line that names the grouping rules, from `group_rule(counts, boundaries)`. Default None: a line that
            leaves open where head, mid and tail are cut, since a report does not say.

    Returns:
        str of several lines without a trailing newline; "-" stands for a group without test images.
    """
    rows = _rows(report)
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)])
        for row in rows
    ]
    return "\n".join([*lines, *_captions(report, rule)])


def markdown_table(report, rule=None):
    """Lay a report out as a Markdown table with its caption below, for a model card.

    Args:
        report: what `expert_report` returns.
        rule: as in `format_report`.

    Returns:
        str of several lines without a trailing newline.
    """
    heading, *body = [[cell.replace("|", r"\|") for cell in row] for row in _rows(report)]
    ruler = ["---"] + ["---:"] * len(METRICS)
    lines = ["| " + " | ".join(row) + " |" for row in [heading, ruler, *body]]
    # Angle brackets would be read as HTML.
    captions = [line.replace("<", "&lt;").replace(">", "&gt;") for line in _captions(report, rule)]
    return "\n\n".join(["\n".join(lines), *captions])


def _rows(report):
    """The table as strings, heading first; both layouts are made from it."""
    rows = [["expert", *(_HEADINGS.get(metric, metric) for metric in METRICS)]]
    for name, numbers in report.items():
        if name != UNTESTED:
            rows.append([_EXPERTS.get(name, name), *(_cell(numbers[metric]) for metric in METRICS)])
    return rows


def _cell(number):
    return "-" if number is None else f"{number:.1f}"


def _captions(report, rule):
    lines = [f"In percent. {rule or 'head/mid/tail: by rank of training count; ' + THRESHOLD_RULE}."]
    untested = report.get(UNTESTED)
    if untested:
        shown = ", ".join(str(label) for label in untested[:10]) + (", ..." if len(untested) > 10 else "")
        lines.append(f"{len(untested)} of the classes have no test images and are left out of the groups: {shown}.")
    return lines
