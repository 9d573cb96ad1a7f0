"""How all pictures are drawn: colours, a figure with axes, its title, and its files.

With matplotlib's objects and its Agg backend, no pyplot: nothing global, no display needed. Colours are those of Okabe
and Ito (2008), told apart with any colour vision.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK, QUIET, FAINT = "#222222", "#5f5f5f", "#d9d9d9"
WINNER, BASELINE = "#0072B2", "#D55E00"
SIZE = 9.0
"""Points of ordinary text, in a figure of 6.3 inches: readable in one column of a paper."""


def figure_of(width: float, height: float, right: float) -> tuple[Figure, Axes]:
    """Make a figure in inches with one pair of axes, which leave the share 1 - `right` of the width beside them."""
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.1, 0.14, right - 0.1, 0.7))
    plain(axes)
    return figure, axes


def plain(axes: Axes) -> None:
    """Style axes as in all pictures: quiet lines, a faint grid, small text."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(QUIET)
    axes.tick_params(labelsize=SIZE - 1, colors=QUIET, labelcolor=INK)
    axes.grid(True, color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.xaxis.label.set(fontsize=SIZE, color=INK)
    axes.yaxis.label.set(fontsize=SIZE, color=INK)


def title(axes: Axes, text: str, note: str) -> None:
    """Write a title above the axes, and a quieter line below it."""
    axes.text(0, 1.13, text, transform=axes.transAxes, fontsize=SIZE + 2, fontweight="bold", color=INK, va="center")
    axes.text(0, 1.055, note, transform=axes.transAxes, fontsize=SIZE - 1, color=QUIET, va="center")


def save(figure: Figure, path: str | Path) -> tuple[Path, Path]:
    """Write SVG and PNG; the same picture gives the same bytes."""
    target = Path(path)
    svg, png = target.with_name(target.stem + ".svg"), target.with_name(target.stem + ".png")
    svg.parent.mkdir(parents=True, exist_ok=True)
    undated: dict[str, str | None] = {"Date": None}
    with matplotlib.rc_context({"svg.hashsalt": "regsearch"}):
        figure.savefig(svg, format="svg", metadata=undated)
    figure.savefig(png, format="png", dpi=200)
    return svg, png
