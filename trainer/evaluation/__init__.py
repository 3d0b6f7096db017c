"""Evaluation: metrics per expert and frequency group, tables and plots. Needs no torch."""

from .groups import (
    PAPER_BOUNDARIES,
    group_rule,
    head_mid_tail,
    imbalance_ratio,
    many_medium_few,
    rank_order,
)
from .plots import plot_class_accuracy, plot_flatness, plot_history
from .predictions import Predictions, predictions
from .report import METRICS, expert_report, per_class_accuracy
from .tables import format_report, markdown_table

__all__ = [
    "METRICS",
    "PAPER_BOUNDARIES",
    "Predictions",
    "expert_report",
    "format_report",
    "group_rule",
    "head_mid_tail",
    "imbalance_ratio",
    "many_medium_few",
    "markdown_table",
    "per_class_accuracy",
    "plot_class_accuracy",
    "plot_flatness",
    "plot_history",
    "predictions",
    "rank_order",
]
