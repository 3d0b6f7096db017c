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
    from matplotlib.patches import Patch

    figure = Figure(figsize=(8, 1.6 + 0.25 * sum(_bars(result) for result in compared)), layout="constrained")
    axes, place, ticks = figure.subplots(), 0.0, []
    for result in compared:
        ticks.append(place + (_bars(result) - 1) / 2)
        for ours, peers in result["ratios"].items():
            for peer, ratio in peers.items():
                reach = [[ratio["median"] - ratio["min"]], [ratio["max"] - ratio["median"]]]
                colour = COLOURS[kinds.index((ours, peer)) % len(COLOURS)]
                axes.barh(place, ratio["median"], 0.9, xerr=reach, color=colour, ecolor="0.3")
                text = {"textcoords": "offset points", "va": "center"}
                axes.annotate(f"{ratio['median']:.2f}", (ratio["max"], place), (4, 0), **text)
                place += 1
        place += 0.6
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks(ticks, [f"{result['case']}\n{result['data']} images" for result in compared])
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlim(left=0)
    axes.set_xlabel("its time over ours: above 1 ours is faster (bar: median; line: all pairs)")
    axes.set_title(content["device"])
    patches = [Patch(color=COLOURS[index % len(COLOURS)]) for index in range(len(kinds))]
    labels = [f"{ours} against {peer}" for ours, peer in kinds]
    figure.legend(patches, labels, loc="outside lower center", ncols=2, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", dpi=150)


def _bars(result: dict) -> int:
    return sum(map(len, result["ratios"].values()))
