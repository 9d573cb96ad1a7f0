"""The pictures of what mattered: shares of each knob, curves of the first few, and the two first together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from regsearch.analysis.dependence import Dependence, Interaction
from regsearch.analysis.drawing import BASELINE, INK, QUIET, SIZE, WINNER, plain, save
from regsearch.analysis.importance import Importance

BARS, CURVES = 12, 4
"""Knobs that are shown at most."""
LOSS, GAP = WINNER, BASELINE
_POINTS, _STRIP, _ROOM = 500, 0.24, 0.05


def pictures(importance: Importance, folder: Path) -> list[Path]:
    """Draw all there is of `found` into `folder`, and return the files."""
    files = [*importance_bars(importance, folder / "importance")]
    if importance.dependence:
        most = sorted(
            importance.dependence, key=lambda each: -max(importance.loss[each.name], importance.gap[each.name])
        )
        files += dependence_curves(most, folder / "dependence")
    if importance.interaction is not None:
        logs = {each.name: each.log for each in importance.dependence}
        files += interaction_map(importance.interaction, logs, folder / "interaction")
    return files


def importance_bars(importance: Importance, path: str | Path) -> tuple[Path, Path]:
    """Draw each knob's shares for validation loss and gap, the largest first, and write them as SVG and PNG."""
    names = list(importance.loss)[:BARS]
    height = 1.25 + 0.36 * len(names)
    figure = _blank(6.3, height)
    left = 0.04 + 0.0112 * max(map(len, names))
    axes = figure.add_axes((left, 0.55 / height, 0.95 - left, (height - 1.25) / height))
    plain(axes)
    axes.grid(False, axis="y")
    places = np.arange(len(names))
    for shares, colour, word, down, hatch in (
        (importance.loss, LOSS, "validation loss", -0.18, ""),
        (importance.gap, GAP, "gap", 0.18, "////"),
    ):
        widths = [100 * shares[name] for name in names]
        axes.barh(places + down, widths, 0.32, color=colour, label=word, hatch=hatch, edgecolor="white", linewidth=0)
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    axes.legend(loc="lower right", fontsize=SIZE - 1, frameon=False)
    more = f", {len(importance.loss) - BARS} knobs more" if len(importance.loss) > BARS else ""
    note = f"share in what tells the best trials apart (PED-ANOVA), over {importance.basis}{more}"
    _head(figure, "What mattered", note)
    return save(figure, path)


def dependence_curves(dependences: Sequence[Dependence], path: str | Path) -> tuple[Path, Path]:
    """Draw how validation loss (above) and gap (below) go with the first few knobs, and write it as SVG and PNG.

    Points are trials that have the knob on, lines the partial dependence, the short line at the side is off.
    """
    shown = dependences[:CURVES]
    figure = _blank(1.0 + 1.75 * len(shown), 4.3)
    grid = figure.subplots(2, len(shown), sharex="col", sharey="row", squeeze=False)
    figure.subplots_adjust(
        left=0.72 / (1.0 + 1.75 * len(shown)), right=0.98, bottom=0.12, top=0.84, wspace=0.1, hspace=0.1
    )
    rows = (("loss", "seen_loss", "off_loss", LOSS, "validation loss"), ("gap", "seen_gap", "off_gap", GAP, "gap"))
    for line, (curve, seen, off, colour, word) in zip(grid, rows, strict=True):
        for axes, each in zip(line, shown, strict=True):
            plain(axes)
            _curve(axes, each, getattr(each, curve), getattr(each, seen), getattr(each, off), colour)
        line[0].set_ylabel(word)
        line[0].set_ylim(*_heights(shown, curve, seen, off))
    for axes, each in zip(grid[1], shown, strict=True):
        axes.set_xlabel(each.name, fontsize=SIZE - 1)
    _head(figure, "How the losses go with each knob", "lines: mean over trials (random forest); points: the trials")
    return save(figure, path)


def interaction_map(interaction: Interaction, logs: dict[str, bool], path: str | Path) -> tuple[Path, Path]:
    """Draw the validation loss over two knobs, and write it as SVG and PNG.

    Args:
        logs: by name whether a knob is drawn on a logarithmic scale.
    """
    figure = _blank(5.2, 4.0)
    axes = figure.add_axes((0.15, 0.14, 0.62, 0.66))
    plain(axes)
    axes.grid(False)
    loss = np.array(interaction.loss).T
    filled = axes.contourf(interaction.x, interaction.y, loss, levels=12, cmap="cividis")
    for which, name, values in (("x", interaction.one, interaction.x), ("y", interaction.other, interaction.y)):
        _scale(axes, which, logs[name], values[0], values[-1], 0.0)
    axes.set_xlabel(interaction.one)
    axes.set_ylabel(interaction.other)
    bar = figure.colorbar(filled, cax=figure.add_axes((0.81, 0.14, 0.035, 0.66)))
    bar.ax.tick_params(labelsize=SIZE - 1, colors=QUIET, labelcolor=INK)
    bar.set_label("validation loss (lower is better)", fontsize=SIZE - 1, color=INK)
    note = f"Friedman's H = {interaction.h:.2f}: 0 where the effects add up, 1 where only the interaction is left"
    _head(figure, "The first two knobs together", note)
    return save(figure, path)


def _curve(axes: Axes, each: Dependence, curve: list[float], seen: list[float], off: float | None, colour: str) -> None:
    step = max(1, len(seen) // _POINTS)
    axes.plot(each.seen_x[::step], seen[::step], ".", color=QUIET, ms=3, alpha=0.35, mew=0, zorder=2)
    axes.plot(each.x, curve, color=colour, linewidth=1.8, zorder=3)
    _scale(axes, "x", each.log, each.x[0], each.x[-1], _STRIP if off is not None else _ROOM)
    if off is not None:
        # In a strip of its own left of the range, whatever its scale.
        within = axes.get_yaxis_transform()
        axes.plot([0.02, 0.13], [off, off], transform=within, color=colour, linewidth=1.8, zorder=3)
        axes.annotate(
            "off", (0.02, off), (0, 3), within, "offset points", color=colour, fontsize=SIZE - 2, va="bottom", zorder=4
        )


def _heights(shown: Sequence[Dependence], curve: str, seen: str, off: str) -> tuple[float, float]:
    """Room for all curves and nine in ten of the trials: the worst ones would flatten all else."""
    values = [value for each in shown for value in getattr(each, curve)]
    values += [value for each in shown if (value := getattr(each, off)) is not None]
    points = np.concatenate([getattr(each, seen) for each in shown])
    low, high = min(*values, float(points.min())), max(*values, float(np.quantile(points, 0.9)))
    room = 0.06 * ((high - low) or 1.0)
    return low - room, high + room


def _scale(axes: Axes, which: str, log: bool, low: float, high: float, room: float) -> None:
    """An axis over a knob's range, `room` left of it as a share of it; ticks are within the range."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    span = high / low if log else high - low or abs(high) or 1.0
    if log:
        axes.set(**{f"{which}scale": "log"})
        axis.set_minor_locator(NullLocator())
        axis.set_minor_formatter(NullFormatter())
        marks = LogLocator(subs=(1, 3) if span < 300 else (1,), numticks=5).tick_values(low, high)
        axis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
        start, end = low / span**room, high * span ** min(room, _ROOM)
    else:
        marks = MaxNLocator(4).tick_values(low, high)
        start, end = low - room * span, high + min(room, _ROOM) * span
    axis.set_major_locator(FixedLocator([each for each in marks if low * (1 - 1e-9) <= each <= high * (1 + 1e-9)]))
    axes.set(**{f"{which}lim": (start, end)})


def _short(value: float) -> str:
    """`0.03`, but `3e-4`: names of ticks stand close together."""
    mantissa, exponent = f"{value:.0e}".split("e")
    return f"{value:g}" if value >= 0.01 else f"{mantissa}e{int(exponent)}"


def _blank(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _head(figure: Figure, text: str, note: str) -> None:
    """Title and note, each its distance in inches below the figure's edge."""
    height = figure.get_figheight()
    figure.text(0.02, 1 - 0.2 / height, text, fontsize=SIZE + 2, fontweight="bold", color=INK, va="center")
    figure.text(0.02, 1 - 0.44 / height, note, fontsize=SIZE - 1, color=QUIET, va="center")
