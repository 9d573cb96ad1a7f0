"""The picture of a Pareto front: all complete trials by their objectives, those of the front among them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from regsearch.analysis.drawing import BASELINE, INK, QUIET, SIZE, WINNER, plain, save

PANELS, NAMED = 6, 10
"""Pairs of objectives, and trials of the front with their numbers beside them: at most."""
_WORDS = {"val_loss": "validation loss", "train_loss": "training loss"}


def pareto_front(
    values: Mapping[int, Sequence[float]],
    objectives: Sequence[str],
    directions: Sequence[str],
    front: Sequence[int],
    broken: Collection[int],
    path: str | Path,
) -> tuple[Path, Path]:
    """Draw the front of two objectives as a stepped line, that of more as marks in every pair; write SVG and PNG.

    Args:
        values: by number of a complete trial one for each objective.
        objectives, directions: their names, and `minimize` or `maximize` for each.
        front: the numbers of the trials on the front.
        broken: those of the trials that break a constraint.
        path: where to write; its suffix is replaced.
    """
    pairs = list(combinations(range(len(objectives)), 2))[:PANELS]
    wide = min(3, len(pairs))
    high = math.ceil(len(pairs) / wide)
    width, height = (5.4, 4.2) if wide == 1 else (0.4 + 2.9 * wide, 0.9 + 2.7 * high)
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.subplots(high, wide, squeeze=False)
    figure.subplots_adjust(0.75 / width, 0.55 / height, 1 - 0.2 / width, 1 - 0.75 / height, wspace=0.38, hspace=0.34)
    for axes, pair in zip(grid.flat, pairs, strict=False):
        plain(axes)
        _panel(axes, values, front, broken, pair)
        for which, index in zip("xy", pair, strict=True):
            good = "lower" if directions[index] == "minimize" else "higher"
            name = _WORDS.get(objectives[index], objectives[index].replace("_", " "))
            axes.set(**{f"{which}label": f"{name} ({good} is better)"})
        if len(objectives) == 2:
            _step(axes, values, front, directions)
    for axes in list(grid.flat)[len(pairs) :]:
        axes.set_visible(False)
    figure.text(0.02, 1 - 0.2 / height, "Pareto front", fontsize=SIZE + 2, fontweight="bold", color=INK, va="center")
    note = f"{len(front)} of {len(values)} complete trials"
    note += f"; crosses: {len(broken)} that break a constraint" if broken else ""
    figure.text(0.02, 1 - 0.44 / height, note, fontsize=SIZE - 1, color=QUIET, va="center")
    return save(figure, path)


def _panel(
    axes: Axes,
    values: Mapping[int, Sequence[float]],
    front: Sequence[int],
    broken: Collection[int],
    pair: tuple[int, int],
) -> None:
    others = [number for number in values if number not in {*front, *broken}]
    styles: tuple[tuple[Collection[int], dict[str, Any]], ...] = (
        (broken, {"marker": "x", "s": 18, "color": BASELINE, "linewidths": 0.9, "alpha": 0.7, "zorder": 2}),
        (others, {"marker": "o", "s": 16, "color": QUIET, "linewidths": 0, "alpha": 0.5, "zorder": 2}),
        (front, {"marker": "o", "s": 36, "color": WINNER, "edgecolors": "white", "linewidths": 0.5, "zorder": 4}),
    )
    for numbers, style in styles:
        points = [[values[number][index] for number in sorted(numbers)] for index in pair]
        axes.scatter(*points, **style)
    for number in front[:NAMED]:
        axes.annotate(
            str(number),
            (values[number][pair[0]], values[number][pair[1]]),
            xytext=(4, 4),
            textcoords="offset points",
            fontsize=SIZE - 2,
            color=WINNER,
            path_effects=[withStroke(linewidth=2, foreground="white")],
            zorder=5,
        )
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.margins(0.08)


def _step(axes: Axes, values: Mapping[int, Sequence[float]], front: Sequence[int], directions: Sequence[str]) -> None:
    """The edge of what the front dominates: from its best in the first objective on to its best in the second."""
    sign = -1.0 if directions[0] == "maximize" else 1.0
    points = sorted((values[number] for number in front), key=lambda each: sign * each[0])
    axes.step([each[0] for each in points], [each[1] for each in points], where="post", color=WINNER, lw=1.2, zorder=3)
