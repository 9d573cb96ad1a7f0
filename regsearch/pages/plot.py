"""A small drawing surface for the pictures of a page: SVG that takes its colours from the page's style sheet.

Lines and marks name a class (`winner`, `set0`), not a colour, so that one drawing serves light and dark, and each mark
can carry a title that a pointer shows without any script. Where ticks go is matplotlib's to say. Coordinates are in
units of a drawing 400 wide, with text of 12 units: 10 pixels on a phone, 9 points in one column of a paper.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from markupsafe import Markup, escape
from matplotlib.ticker import LogLocator, MaxNLocator

WIDTH = 400.0
TEXT = 12.0
_LETTER, _BOLD = 6.8, 7.5
"""Units that a letter takes on average in the widest of the usual fonts."""
MARKS = ("circle", "square", "up", "diamond", "down", "cross")


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high` on the pixels from `start` to `end`, logarithmic or not."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float, beyond: bool = False) -> float:
        """Scale a value to its place in the plot; values beyond the ends lie at them, or `beyond` them."""
        value = value if beyond else min(max(value, self.low), self.high)
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        """Choose about `count` round values within the axis."""
        if self.log:
            decades = math.log10(self.high / self.low)
            subs = (1.0, 2.0, 5.0) if decades < 1.6 else (1.0, 3.0) if decades < 2.6 else (1.0,)
            ticks = LogLocator(subs=subs, numticks=count + 1).tick_values(self.low, self.high)
        else:
            ticks = MaxNLocator(count, steps=[1, 2, 2.5, 5, 10], min_n_ticks=2).tick_values(self.low, self.high)
        slack = 1e-9 * (self.high - self.low)
        return [float(each) for each in ticks if self.low - slack <= each <= self.high + slack]


def axis(values: Iterable[float], start: float, end: float, *, room: float = 0.05, zero: bool = False) -> Axis:
    """Fit an axis to all of these finite values, logarithmic where they are positive and span a factor above 6.

    Args:
        room: what is left free at each end, as a share.
        zero: 0 is to be on it, and then it is not logarithmic.
    """
    known = list(values)
    low, high = min(known), max(known)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    elif low > 0 and high / low > 6:
        factor = (high / low) ** room
        return Axis(low / factor, high * factor, start, end, log=True)
    span = high - low or abs(high) or 1.0
    return Axis(low - room * span, high + room * span, start, end)


def short(value: float) -> str:
    """Format a number with at most four significant digits, as people write it; with a true minus."""
    if not math.isfinite(value):
        return "unknown" if math.isnan(value) else "∞" if value > 0 else "−∞"
    return f"{value:.4g}".replace("e-0", "e-").replace("-", "−")


class Plot:
    """Collects what is drawn, in order.

    Args:
        height: of the drawing, in units.
    """

    def __init__(self, height: float) -> None:
        self.height = height
        self._parts: list[Markup] = []

    def drawn(self) -> Markup:
        """Join all that was drawn."""
        return Markup("\n").join(self._parts)

    @contextmanager
    def window(self, x: float, y: float, width: float, height: float) -> Iterator[None]:
        """Clip what is drawn meanwhile to this rectangle."""
        place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
        self._add(Markup('<svg {} viewBox="{:.1f} {:.1f} {:.1f} {:.1f}">').format(Markup(place), x, y, width, height))
        yield
        self._add(Markup("</svg>"))

    def line(self, points: Sequence[tuple[float, float]], style: str, title: str = "") -> None:
        """Draw a line through the points."""
        path = "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._add(Markup('<path class="line {}" d="{}"{}').format(style, path, _closed("path", title)))

    def area(self, points: Sequence[tuple[float, float]], style: str) -> None:
        """Draw a filled area without a border."""
        path = "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points) + "Z"
        self._add(Markup('<path class="area {}" d="{}"/>').format(style, path))

    def box(self, x: float, y: float, width: float, height: float, style: str, title: str = "") -> None:
        """Draw a filled rectangle."""
        place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
        self._add(Markup('<rect class="area {}" {}{}').format(style, Markup(place), _closed("rect", title)))

    def mark(self, x: float, y: float, kind: str, style: str, title: str = "", size: float = 4.0) -> None:
        """Draw a mark, one of `MARKS` or `ring`, with what a pointer is told of it."""
        if kind in ("circle", "ring"):
            style = f"ring {style}" if kind == "ring" else style
            text = Markup('<circle class="mark {}" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"{}')
            self._add(text.format(style, x, y, size, _closed("circle", title)))
        else:
            text = Markup('<path class="mark {}" d="{}"{}')
            self._add(text.format(style, _shape(kind, x, y, size), _closed("path", title)))

    def text(self, x: float, y: float, text: str, style: str = "", anchor: str = "start") -> None:
        """Draw text whose middle line is at y."""
        plain = Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>')
        self._add(plain.format(style, x, y + 0.35 * TEXT, anchor, text))

    def bottom(self, along: Axis, y: float, name: str, count: int = 5, grid_to: float | None = None) -> None:
        """Draw the axis below: ticks, their values and its name; grid lines up to `grid_to`."""
        for value in along.ticks(count):
            x = along.at(value)
            if grid_to is not None:
                self.line([(x, grid_to), (x, y)], "grid")
            self.text(x, y + 11, short(value), "tick", "middle")
        self.line([(along.start, y), (along.end, y)], "frame")
        self.text((along.start + along.end) / 2, y + 28, name, "name", "middle")

    def left(self, up: Axis, x: float, name: str, count: int = 5, grid_to: float | None = None) -> None:
        """Draw the axis at the left: ticks and their values; its name stands above it."""
        for value in up.ticks(count):
            y = up.at(value)
            if grid_to is not None:
                self.line([(x, y), (grid_to, y)], "grid")
            self.text(x - 5, y, short(value), "tick", "end")
        self.line([(x, up.start), (x, up.end)], "frame")
        self.text(2, up.end - 13, name, "name")

    def key(self, y: float, entries: Sequence[tuple[str, str, str]]) -> float:
        """Draw what marks and lines mean: (mark or line style, class, words), in rows from y on; gives where the next
        thing may begin.
        """
        x = 8.0
        for kind, style, words in entries:
            wide = 18 + _LETTER * len(words)
            if x > 8 and x + wide > WIDTH:
                x, y = 8.0, y + 16
            if kind in MARKS or kind == "ring":
                self.mark(x, y, kind, style)
            else:
                self.line([(x - 6, y), (x + 8, y)], f"{style} {kind}")
            self.text(x + 12, y, words, "key")
            x += wide + 12
        return y + 16

    def _add(self, part: Markup) -> None:
        self._parts.append(part)


def fitting(text: str, width: float = WIDTH, bold: bool = False) -> str:
    """Cut the text where it would not fit into so many units."""
    most = max(1, int(width / (_BOLD if bold else _LETTER)))
    return text if len(text) <= most else text[: most - 1].rstrip(" ,") + "…"


def _closed(tag: str, title: str) -> Markup:
    return Markup("><title>{}</title></{}>").format(escape(title), Markup(tag)) if title else Markup("/>")


def _shape(kind: str, x: float, y: float, size: float) -> str:
    corners = {
        "square": [(-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)],
        "up": [(0, -1.15), (1.1, 0.85), (-1.1, 0.85)],
        "down": [(0, 1.15), (1.1, -0.85), (-1.1, -0.85)],
        "diamond": [(0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)],
    }
    if kind == "cross":
        a, b = size * 0.3, size * 1.1
        quarter = [(-a, -b), (a, -b), (a, -a)]
        outline = (
            quarter + [(-q, p) for p, q in quarter] + [(-p, -q) for p, q in quarter] + [(q, -p) for p, q in quarter]
        )
        return "M" + "L".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in outline) + "Z"
    return "M" + "L".join(f"{x + size * dx:.1f},{y + size * dy:.1f}" for dx, dy in corners[kind]) + "Z"
