"""Small helps with words: of refusals, and those that people write. Standard library only."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Sequence

from regsearch.errors import UserError


def nearest(word: object, known: Iterable[str]) -> str:
    """Suggest the known word most like `word`, as ` (did you mean X?)`, or nothing where none is like it."""
    close = difflib.get_close_matches(str(word).lower(), list(known), n=1, cutoff=0.5)
    return suggested(close)


def suggested(names: Iterable[str]) -> str:
    """Format ` (did you mean a, b or c?)`, or nothing without a name."""
    known = list(names)
    return f" (did you mean {listed(known, 'or')}?)" if known else ""


def one_of(known: Iterable[str], given: object = None, others: Collection[str] = ()) -> str:
    """Format `allowed are a, b, c`, with what was meant: `others`, or else the one most like `given`, if any is."""
    words = list(known)
    if others:
        return one_of(words) + suggested(others)
    return f"allowed {'are' if words[1:] else 'is'} {', '.join(words)}{'' if given is None else nearest(given, words)}"


def unknown_regularizer(
    name: object, known: Iterable[str], key: str, keys: tuple[str, ...] = (), elsewhere: Collection[str] = ()
) -> UserError:
    """Make the error that refuses a regularizer which nobody declared, with what makes one of the user's own known.

    Args:
        keys: what may stand at its place besides, and is no regularizer.
        elsewhere: the places of the study file that it may have been meant for.
    """
    names = list(known)
    allowed = one_of(names)
    if keys:
        allowed += f", and the keys {', '.join(keys)}"
    if elsewhere:
        return UserError("unknown regularizer", key=key, value=brief(name), allowed=allowed + suggested(elsewhere))
    allowed += nearest(name, [*names, *keys])
    if not difflib.get_close_matches(str(name), names, n=1, cutoff=0.85):  # else it is a slip
        allowed += "; one of your own needs its entry point regsearch.regularizers, and pip install ."
    return UserError("unknown regularizer", key=key, value=brief(name), allowed=allowed)


def nothing_searched(fixed: Sequence[str]) -> UserError:
    """Make the error that refuses a space in which nothing is searched.

    Args:
        fixed: the regularizers that it holds at one strength.
    """
    allowed = "name a regularizer to search, like dropout: search"
    if fixed:
        allowed += "; what is fixed acts in every trial, the baseline too: to hold it against none write choose: one, "
        allowed += f"from: {{{fixed[0]}: {{...}}}}, and search.sampler: grid"
    else:
        allowed += ", or leave space out for the default one"
    return UserError("nothing is searched", key="space", allowed=allowed)


class _Text(str):
    """Text that shows itself without quotes where a value is quoted."""

    def __repr__(self) -> str:
        return str(self)


def brief(value: object, longest: int = 60) -> object:
    """Shorten `value` for a message: words and numbers stay as they are, anything longer is cut to one short line."""
    if isinstance(value, bool):
        return _Text(str(value).lower())
    text = " ".join(repr(value).split())
    return value if len(text) <= longest else _Text(text[: longest - 4] + " ...")


def listed(words: Iterable[str], joint: str = "and") -> str:
    """Join words, one or more: `a`, `a and b`, `a, b and c`."""
    *most, last = words
    return f"{', '.join(most)} {joint} {last}" if most else last


def as_seconds(text: str | None, key: str) -> float | None:
    """Convert to seconds a time like `90s`, `10m` or `2h`; None stays None.

    Raises:
        UserError: it is no time; names `key`.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    if not match or not float(match[1]):
        raise UserError("not a time", key=key, value=text, allowed="allowed are seconds, or like 90s, 10m, 2h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]
