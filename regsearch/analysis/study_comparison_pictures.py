"""The picture of a comparison that a paper would print: mean ranks. Drawn like those of one study, see `pictures`."""

from __future__ import annotations

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from regsearch.analysis.drawing import BASELINE, INK, QUIET, SIZE, WINNER
from regsearch.analysis.paired_tests import alike
from regsearch.analysis.study_comparison import Comparison
from regsearch.analysis.study_pictures import SETS

WIDTH, ROW = 6.3, 0.24
"""Inches of the picture, and of one of its rows."""
COLOURS = (WINNER, BASELINE, *(colour for colour, _ in SETS))


def ranks_picture(comparison: Comparison) -> Figure:
    """Plot mean ranks on a line, the best on the left; bars join what the corrected tests do not tell apart.

    The form is that of Demsar's (2006) critical difference diagram; what the bars mean is in `across.alike`.
    """
    order = list(comparison.ranks)
    bars = alike(order, comparison.pairs)
    methods, half = len(order), -(-len(order) // 2)
    height = 1.15 + 0.13 * len(bars) + ROW * half
    figure = Figure(figsize=(WIDTH, height), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.24, 0.02, 0.52, 1 - 0.62 / height))
    rows = 0.9 + 0.55 * len(bars) + half
    axes.set_xlim(1 - 0.02 * methods, methods * 1.02)
    axes.set_ylim(-rows, 0.8)
    axes.axis("off")
    axes.plot([1, methods], [0, 0], color=INK, linewidth=1.0)
    for tick in range(1, methods + 1):
        axes.plot([tick, tick], [0, 0.18], color=INK, linewidth=1.0)
        axes.text(tick, 0.28, str(tick), ha="center", va="bottom", fontsize=SIZE - 1, color=INK)
    for place, (first, last) in enumerate(bars):
        y = -0.45 - 0.55 * place
        ends = (comparison.ranks[order[first]] - 0.04, comparison.ranks[order[last]] + 0.04)
        axes.plot(ends, [y, y], color=QUIET, linewidth=4.0, solid_capstyle="round")
    for place, name in enumerate(order):
        left = place < half
        row = place if left else methods - 1 - place
        y, rank = -0.9 - 0.55 * len(bars) - row, comparison.ranks[name]
        edge = 1 - 0.02 * methods if left else methods * 1.02
        axes.plot([rank, rank, edge], [0, y, y], color=COLOURS[place % len(COLOURS)], linewidth=1.2)
        text = f"{name}  {rank:.2f}" if left else f"{rank:.2f}  {name}"
        gap = -0.02 * methods if left else 0.02 * methods
        axes.text(edge + gap, y, text, ha="right" if left else "left", va="center", fontsize=SIZE, color=INK)
    note = f"over {len(comparison.units)} {comparison.unit}s; 1 is the best"
    note += "; bars join what may be chance" if bars else ""
    figure.text(0.02, 1 - 0.13 / height, "Mean ranks", fontsize=SIZE + 2, fontweight="bold", color=INK, va="center")
    figure.text(0.02, 1 - 0.33 / height, note, fontsize=SIZE - 1, color=QUIET, va="center")
    return figure
