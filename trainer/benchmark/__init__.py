"""Speed of a training step beside timm's: contestants in processes of their own, which take turns."""

from .cases import CASES, CONTESTANTS, Case, Contestant
from .entry import Entry
from .images import DATA
from .measure import Benchmark, markdown
from .plot import plot_ratios

__all__ = ["CASES", "CONTESTANTS", "DATA", "Benchmark", "Case", "Contestant", "Entry", "markdown", "plot_ratios"]
