"""What a page is made of: sections that hold paragraphs, lists, tables, pictures and code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from markupsafe import Markup


@dataclass(frozen=True)
class Paragraph:
    """Plain text; `strong` for the one sentence that a section is about."""

    kind: ClassVar[str] = "paragraph"
    text: str
    strong: bool = False


@dataclass(frozen=True)
class Claim:
    """A finding in a word or two, with what it means; `good` colours it, the words say it."""

    kind: ClassVar[str] = "claim"
    word: str
    text: str
    good: bool


@dataclass(frozen=True)
class Lines:
    """A list of plain texts."""

    kind: ClassVar[str] = "lines"
    items: Sequence[str]


@dataclass(frozen=True)
class Code:
    """Lines to copy: commands or a file; `folded` behind its caption."""

    kind: ClassVar[str] = "code"
    caption: str
    text: str
    folded: bool = False


@dataclass(frozen=True)
class Table:
    """A table of texts; the first cell of a row is its heading.

    Args:
        caption: what it shows, in a line.
        header: the columns' headings; an empty one is read out as nothing.
        rows: as wide as the header.
        folded: shown when its caption is opened, for what is long or stands in a picture too.
        note: a line below it.
        anchor: an id that links may point at; "" for none.
    """

    kind: ClassVar[str] = "table"
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    folded: bool = False
    note: str = ""
    anchor: str = ""

    def __post_init__(self) -> None:
        if any(len(row) != len(self.header) for row in self.rows):
            raise ValueError(f"the table {self.caption!r} needs {len(self.header)} cells in every row")


@dataclass(frozen=True)
class Picture:
    """A picture as SVG, what it shows in words, and its numbers.

    Args:
        name: unlike any other of the page; letters, digits and `-`.
        title: its caption.
        text: what is to be seen, for those who do not see it, and as the caption's second sentence.
        drawn: the inside of the `<svg>`, see `regsearch.pages.plot`.
        height: of a drawing that is `plot.WIDTH` wide.
        numbers: the table behind it.
        elsewhere: the anchor of the table that has the numbers, where `numbers` is None.
    """

    kind: ClassVar[str] = "picture"
    name: str
    title: str
    text: str
    drawn: Markup
    height: float
    numbers: Table | None = None
    elsewhere: str = ""


Part = Paragraph | Claim | Lines | Code | Table | Picture


@dataclass(frozen=True)
class Section:
    """One part of a page under a heading.

    Args:
        anchor: unlike any other of the page; letters, digits and `-`.
        title: the heading.
        parts: in order; a section without any is left out.
    """

    anchor: str
    title: str
    parts: Sequence[Part] = field(default=())
