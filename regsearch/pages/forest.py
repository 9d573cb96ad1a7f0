"""Estimates with their intervals, a row each: a forest plot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from regsearch.pages.parts import Picture, Table
from regsearch.pages.plot import WIDTH, Plot, axis, fitting, short

_MARKS = {"winner": "circle", "baseline": "square"}


class Estimate(NamedTuple):
    """One row.

    Args:
        style: `winner`, `baseline` or `other`.
        label: stands above the interval.
        value, low, high: the estimate and the ends of its interval; infinite ones are not known.
    """

    style: str
    label: str
    value: float
    low: float
    high: float


def forest(
    name: str, title: str, text: str, rows: Sequence[Estimate], words: str, *, zero: bool, elsewhere: str = ""
) -> Picture:
    """Plot estimates as a forest; the numbers are in a folded table below it, or in the one with anchor `elsewhere`.

    Args:
        name, title, text: see `Picture`.
        words: what the axis measures.
        zero: 0 is on the axis, with a line of its own.
    """
    step, top = 42.0, 14.0
    bottom = top + step * len(rows)
    plot = Plot(bottom + 40)
    ends = [each for row in rows for each in (row.value, row.low, row.high) if math.isfinite(each)]
    along = axis(ends, 12, WIDTH - 12, zero=zero, room=0.06)
    plot.bottom(along, bottom, words, grid_to=top - 8)
    if zero:
        plot.line([(along.at(0), top - 8), (along.at(0), bottom)], "frame")
    for index, (style, label, value, low, high) in enumerate(rows):
        y = top + step * index
        plot.text(8, y, fitting(label, WIDTH - 16, bold=style != "other"), f"{style} halo")
        tip = f"{label}: {short(value)} ({span(low, high)})"
        if math.isfinite(low) or math.isfinite(high):
            plot.line([(along.at(low), y + 19), (along.at(high), y + 19)], f"{style} thick", tip)
        for end in (low, high):
            if math.isfinite(end):
                plot.line([(along.at(end), y + 13), (along.at(end), y + 25)], style)
        plot.mark(along.at(value), y + 19, _MARKS.get(style, "diamond"), style, tip, 6)
    if elsewhere:
        return Picture(name, title, text, plot.drawn(), plot.height, elsewhere=elsewhere)
    cells = [(row.label, short(row.value), span(row.low, row.high)) for row in rows]
    numbers = Table(f"{title}: the numbers", ("", words, "interval"), cells, folded=True)
    return Picture(name, title, text, plot.drawn(), plot.height, numbers)


def span(low: float, high: float) -> str:
    """Format an interval in words."""
    return f"{short(low)} to {short(high)}" if math.isfinite(low) or math.isfinite(high) else "not known"
