"""The pictures of a comparison: mean ranks, differences of pairs, gaps of the studies.

Drawn like those of one study, see `pictures`; here as SVG alone, for a page that sets the colours by its own style.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from regsearch.analysis.across import LEVEL, Pair, alike
from regsearch.analysis.across_words import p_value
from regsearch.analysis.comparing import Comparison
from regsearch.analysis.drawing import BASELINE, FAINT, INK, QUIET, SIZE, WINNER
from regsearch.analysis.pictures import SETS

WIDTH = 6.3
ROW, EDGE = 0.24, 0.95
"""Inches of a row, and of what is above and below the rows."""
COLOURS = (WINNER, BASELINE, *(colour for colour, _ in SETS))


def ranks_picture(found: Comparison) -> Figure:
    """Mean ranks on a line, the best on the left; bars join what the corrected tests do not tell apart.

    The form is that of Demsar's (2006) critical difference diagram; what the bars mean is in `across.alike`.
    """
    order = list(found.ranks)
    bars = alike(order, found.pairs)
    methods, half = len(order), -(-len(order) // 2)
    height = 1.15 + 0.13 * len(bars) + ROW * half
    figure, axes = _figure(height)
    axes.set_position((0.24, 0.02, 0.52, 1 - 0.62 / height))
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
        ends = (found.ranks[order[first]] - 0.04, found.ranks[order[last]] + 0.04)
        axes.plot(ends, [y, y], color=QUIET, linewidth=4.0, solid_capstyle="round")
    for place, name in enumerate(order):
        left = place < half
        row = place if left else methods - 1 - place
        y, rank = -0.9 - 0.55 * len(bars) - row, found.ranks[name]
        edge = 1 - 0.02 * methods if left else methods * 1.02
        axes.plot([rank, rank, edge], [0, y, y], color=COLOURS[place % len(COLOURS)], linewidth=1.2)
        text = f"{name}  {rank:.2f}" if left else f"{rank:.2f}  {name}"
        gap = -0.02 * methods if left else 0.02 * methods
        axes.text(edge + gap, y, text, ha="right" if left else "left", va="center", fontsize=SIZE, color=INK)
    note = f"over {len(found.units)} {found.unit}s; 1 is the best"
    _title(figure, "Mean ranks", f"{note}; bars join what may be chance" if bars else note)
    return figure


def pairs_picture(found: Comparison) -> Figure:
    """The difference of each pair with its interval; filled where it holds after the correction."""
    pairs = list(found.pairs)
    figure, axes = _figure(EDGE + ROW * len(pairs))
    scale, unit = (100.0, "points") if found.sign > 0 else (1.0, "lower error")
    axes.axvline(0, color=QUIET, linewidth=0.8)
    for row, pair in enumerate(pairs):
        _whisker(axes, row, pair, scale)
    _rows(axes, [f"{pair.first} \N{MINUS SIGN} {pair.second}" for pair in pairs])
    axes.set_xlabel(f"median difference on unseen rows ({unit}), {100 * LEVEL:g} % interval")
    for row, pair in enumerate(pairs):
        text = f"p {p_value(pair.p_holm)}" if pair.p_holm < 1e-4 else f"p = {p_value(pair.p_holm)}"
        axes.text(1.02, row, text, transform=axes.get_yaxis_transform(), va="center", fontsize=SIZE - 1, color=INK)
    _title(figure, "Differences of pairs", f"above 0: the first is better; filled: holds over {found.unit}s")
    return figure


def _whisker(axes: Axes, row: int, pair: Pair, scale: float) -> None:
    colour = WINNER if pair.holds else QUIET
    if not math.isinf(pair.difference.low):
        ends = [scale * pair.difference.low, scale * pair.difference.high]
        axes.plot(ends, [row, row], color=colour, linewidth=1.8, solid_capstyle="round")
    face = colour if pair.holds else "white"
    axes.plot(scale * pair.difference.value, row, "o", color=colour, markerfacecolor=face, markersize=6)


def gaps_picture(found: Comparison) -> Figure:
    """The gap of each study: its complete trials from the 10th to the 90th percentile, and its finals."""
    studies = sorted(found.studies, key=lambda each: each.data) if found.unit == "data set" else list(found.studies)
    names = list(found.compared)
    figure, axes = _figure(EDGE + ROW * len(studies))
    axes.axvline(0, color=QUIET, linewidth=0.8)
    for row, each in enumerate(studies):
        colour = COLOURS[names.index(each.study if found.unit == "seed" else each.method) % len(COLOURS)]
        axes.plot([each.gap.low, each.gap.high], [row, row], color=colour, linewidth=5, alpha=0.3)
        axes.plot(each.gap.value, row, "|", color=colour, markersize=9, markeredgewidth=1.8)
        axes.plot(each.final_gap.value, row, "D", color=colour, markersize=5)
    _rows(axes, [each.study for each in studies])
    axes.set_xlabel("gap: validation \N{MINUS SIGN} training loss")
    _title(figure, "Gaps of the studies", "bar: complete trials, 10 to 90 %, line at the median; diamond: finals")
    return figure


def svg(figure: Figure, label: str, colours: Mapping[str, str]) -> str:
    """The picture as an element for a page: text stays text, and the colours given are replaced by the page's own.

    Args:
        label: what a screen reader says.
        colours: what stands in the place of each colour, like `var(--ink)`.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": f"regsearch {label}", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for colour, instead in colours.items():
        text = text.replace(colour, instead).replace(colour.lower(), instead)
    said = label.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return text.replace("<svg", f'<svg role="img" aria-label="{said}"', 1)


def _figure(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), facecolor="white")
    FigureCanvasAgg(figure)
    bottom, top = 0.45 / height, 1 - 0.5 / height
    axes = figure.add_axes((0.36, bottom, 0.5, top - bottom))
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(QUIET)
    axes.tick_params(labelsize=SIZE - 1, colors=QUIET, labelcolor=INK, left=False)
    axes.grid(True, axis="x", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.label.set(fontsize=SIZE, color=INK)
    return figure, axes


def _rows(axes: Axes, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), [_short(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)


def _short(name: str) -> str:
    return name if len(name) <= 38 else f"{name[:36]} …"


def _title(figure: Figure, title: str, note: str) -> None:
    height = figure.get_figheight()
    figure.text(0.02, 1 - 0.13 / height, title, fontsize=SIZE + 2, fontweight="bold", color=INK, va="center")
    figure.text(0.02, 1 - 0.33 / height, note, fontsize=SIZE - 1, color=QUIET, va="center")
