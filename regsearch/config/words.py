"""Small helps for the wording of refusals. Standard library only."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


def nearest(word: Any, known: Iterable[str]) -> str:
    """` (did you mean X?)` with the known word most like `word`, or nothing where none is like it."""
    close = difflib.get_close_matches(str(word).lower(), list(known), n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else ""


def one_of(known: Iterable[str], given: Any = None) -> str:
    """`allowed are a, b, c`, with the one most like `given`, if any is."""
    words = list(known)
    return f"allowed {'are' if words[1:] else 'is'} {', '.join(words)}{nearest(given, words)}"


class _Text(str):
    """Text that shows itself without quotes where a value is quoted."""

    def __repr__(self) -> str:
        return str(self)


def brief(value: Any, longest: int = 60) -> Any:
    """`value` as a message shows it: words and numbers as they are, anything longer cut to one short line."""
    if isinstance(value, bool):
        return _Text(str(value).lower())
    text = " ".join(repr(value).split())
    return value if len(text) <= longest else _Text(text[: longest - 4] + " ...")
