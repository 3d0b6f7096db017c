"""The comparison as a picture: a bar for each contestant of ours and each that it is compared with."""

from __future__ import annotations

from pathlib import Path

from trainer.errors import RunError

COLOURS = ("#0072B2", "#56B4E9", "#D55E00", "#E69F00", "#009E73", "#CC79A7")  # Okabe and Ito's: for any colour vision


def plot_ratios(content: dict, path: Path) -> None:
    """Draw how many times as fast as its peers ours is; lines reach from the lowest to the highest pair.

    Args:
        content: of a benchmark's result file.
        path: of the PNG.

    Raises:
        RunError: nothing was compared.
    """
    compared = [result for result in content["results"] if result["ratios"]]
    kinds = list(
        dict.fromkeys(
            (ours, peer) for result in compared for ours, peers in result["ratios"].items() for peer in peers
        )
    )
    if not kinds:
        raise RunError(
            f"there is nothing to draw in {path}: nothing of ours was compared with another; leave out --plot"
        )
    from matplotlib.figure import Figure  # here, so that contestants start without it

    height = 0.8 / len(kinds)
    figure = Figure(figsize=(8, 1.6 + len(compared) * (0.35 + 0.22 * len(kinds))), layout="constrained")
    axes = figure.subplots()
    for index, (ours, peer) in enumerate(kinds):
        found = [(row, result["ratios"].get(ours, {}).get(peer)) for row, result in enumerate(compared)]
        found = [(row, ratio) for row, ratio in found if ratio]
        places = [row + (index - (len(kinds) - 1) / 2) * height for row, _ in found]
        medians = [ratio["median"] for _, ratio in found]
        spread = [
            [r["median"] - r["min"] for _, r in found],
            [r["max"] - r["median"] for _, r in found],
        ]
        colour, label = COLOURS[index % len(COLOURS)], f"{ours} against {peer}"
        axes.barh(places, medians, 0.9 * height, xerr=spread, color=colour, ecolor="0.3", label=label)
        for place, (_, ratio) in zip(places, found, strict=True):
            axes.annotate(
                f"{ratio['median']:.2f}", (ratio["max"], place), (4, 0), textcoords="offset points", va="center"
            )
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks(range(len(compared)), [f"{result['case']}\n{result['data']} images" for result in compared])
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlim(left=0)
    axes.set_xlabel("its time over ours: above 1 ours is faster (bar: median; line: all pairs)")
    axes.set_title(content["device"])
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", dpi=150)
