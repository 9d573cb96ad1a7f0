"""Pieces of Markdown that the generated pages are made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def anchor(*parts: str) -> str:
    """Name the anchor of a thing: `key-search-sampler`, `command-study-start`.

    >>> anchor("key", "data.split", "time_format")
    'key-data-split-time-format'
    """
    return re.sub(r"[^a-z0-9]+", "-", "-".join(part for part in parts if part).lower()).strip("-")


def heading(level: int, text: str, target: str = "") -> str:
    """Write a heading, below its anchor where it has one."""
    return (f"({target})=\n" if target else "") + f"{'#' * level} {text}"


def fields(rows: Iterable[tuple[str, str]]) -> str:
    """Write a list of names and what they are; what is empty is left out."""
    return "\n".join(f":{name}: {text}" for name, text in rows if text)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table; a bar inside a cell is not a border."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def code(language: str, text: str) -> str:
    """Write a block of code."""
    return f"```{language}\n{text.rstrip()}\n```"


def page(*blocks: str) -> str:
    """Put blocks below one another; those that are empty are left out."""
    return "\n\n".join(block for block in blocks if block) + "\n"


def one_line(text: str) -> str:
    """Put a text that was wrapped on one line."""
    return " ".join(text.split())


def first_sentence(text: str) -> str:
    """Cut a text after its first sentence, or before a semicolon in it.

    >>> first_sentence("Rows, like `0.5`. More is said below.")
    'Rows, like `0.5`.'
    """
    return re.split(r"(?<=\.)\s|;\s", one_line(text), maxsplit=1)[0].rstrip(".") + "."
