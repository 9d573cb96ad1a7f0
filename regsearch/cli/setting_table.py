"""A table of settings beside their numbers; where those leave too little room, each setting has lines of its own."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

SETTING = "setting"
"""The title of the column."""
_ROOM = 24
"""A setting that is longer than its room, and that narrower than this, goes below its row."""
_LEAST = 8
"""No other column is folded to less."""
_INDENT = 2


def setting_table(rows: Sequence[Sequence[str]], width: int, *, ruled: bool) -> RenderableType:
    """Lay out rows that have a column `setting`; what of them does not fit is folded, never cut.

    Args:
        rows: the header, then the others; a row without a setting belongs to the one above it.
        width: columns of the page.
        ruled: draw a line below the header.
    """
    place = list(rows[0]).index(SETTING)
    settings = [row[place] for row in rows]
    others = [[*row[:place], *row[place + 1 :]] for row in rows]
    gap = 3 if ruled else 2
    widths = [max(map(cell_len, column)) for column in zip(*others, strict=True)]
    longest, room = max(map(cell_len, settings)), width - sum(widths) - gap * len(widths)
    if room >= min(longest, _ROOM):
        widths.insert(place, min(longest, room))
        return _table(rows, widths, ruled, gap)
    while sum(widths) + gap * (len(widths) - 1) > width and max(widths) > _LEAST:
        widths[widths.index(max(widths))] -= 1
    parts: list[RenderableType] = [_table(others[:1], widths, ruled, gap)]
    starts = [number for number, setting in enumerate(settings) if setting][1:]
    for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        parts.append(_table([[], *others[start:end]], widths, ruled, gap))
        parts.append(Padding(Text(settings[start]), (0, 0, 0, _INDENT)))
    return Group(*parts)


def _table(rows: Sequence[Sequence[str]], widths: Sequence[int], ruled: bool, gap: int) -> Table:
    """Lay out a header, which may be empty, and rows in columns of these widths."""
    header, *body = rows
    table = Table(
        header_style="bold",
        box=box.SIMPLE_HEAD if ruled and header else None,
        show_header=bool(header),
        show_edge=False,
        pad_edge=False,
        padding=(0, 1) if ruled and header else (0, gap, 0, 0),
    )
    for title, each in zip(header or [""] * len(widths), widths, strict=True):
        table.add_column(escape(title), width=each, overflow="fold")
    for row in body:
        table.add_row(*map(escape, row))
    return table
