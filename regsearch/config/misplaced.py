"""A key of a study file that is not known where it stands, and the places where it is."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from regsearch.config.words import one_of, suggested
from regsearch.errors import UserError

Places = Mapping[str, Collection[str]]
"""Keys of a study file by the section that they stand in, `data.split`; the whole file's is the empty text."""
_OF_OTHER_TOOLS = {"metric": "objective", "monitor": "objective", "lr": "learning_rate", "n_trials": "trials"}
_SLIP, _NEAR = 0.8, 0.7
"""From these likenesses on a word is taken for a slip of another, and no other section is looked through."""
_MOST = 3


def joined(section: str, key: str) -> str:
    """Name a key with the section that it stands in."""
    return f"{section}.{key}" if section else key


def meant(word: object, here: Collection[str], section: str, places: Places) -> tuple[str, ...]:
    """Name what may have been meant by a key that is unknown in its section: three places at most.

    Those of the same name elsewhere, with a key of its own section before them that it is a slip of; without any, what
    is most like it, where anything is.

    Args:
        word: the key.
        here: the keys of its section.
        section: the name of that.
        places: of the whole file.
    """
    key = str(word).lower()
    outer, _, inner = key.rpartition(".")
    if outer and not section and inner in places.get(outer, ()):
        return (_nested([*outer.split("."), inner]),)
    others: dict[str, list[str]] = {}
    for other, keys in places.items():
        for name in keys if other != section else ():
            others.setdefault(name, []).append(joined(other, name))
    ours = _OF_OTHER_TOOLS.get(key, "")
    near = [ours] if ours in here else difflib.get_close_matches(key, list(here), n=1, cutoff=0.5)
    likeness = _likeness(key, near[0]) if near else 0.0
    same = others.get(key, []) or (others.get(ours, []) if ours not in here else [])
    if same:
        return tuple((near if likeness >= _SLIP else []) + same)[:_MOST]
    slips = difflib.get_close_matches(key, list(others), n=1, cutoff=_SLIP)
    if slips and likeness < _NEAR:
        return tuple(others[slips[0]][:_MOST])
    return tuple(near)


def elsewhere(word: object, here: Collection[str], places: Places) -> tuple[str, ...]:
    """Name the places outside `space` that a key within it may have been meant for, unless it is a slip there."""
    names = meant(word, here, "space", places)
    return names if set(names) - set(here) else ()


def _nested(keys: Sequence[str]) -> str:
    """`search: {seed: ...}`."""
    return f"{keys[0]}: {{{_nested(keys[1:])}}}" if keys[1:] else f"{keys[0]}: ..."


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, other, one).ratio()


class UnknownKey(UserError):
    """A key that is not known where it stands.

    Args:
        section: where it stands, `data.split`; empty for the file itself.
        word: the key.
        value: what it was given.
        known: the keys of its section.
        file: that it stands in.
        places: of the whole file, as far as they are known.
    """

    def __init__(
        self,
        section: str,
        word: str,
        value: object,
        known: Iterable[str],
        file: str | Path | None = None,
        places: Places | None = None,
    ) -> None:
        self.section, self.word, self.known = section, word, tuple(known)
        names = meant(word, self.known, section, places or {})
        allowed = one_of(self.known, None, names) if self.known else f"it has no keys of its own{suggested(names)}"
        super().__init__("unknown key", file=file, key=joined(section, word), value=value, allowed=allowed)

    def below(self, section: str, file: str | Path | None = None) -> UnknownKey:
        """Copy the error with its key in the section that it was read for, and with the file."""
        inner = joined(section, self.section) if self.section else section
        return UnknownKey(inner, self.word, self.value, self.known, self.file or file)

    def among(self, places: Places) -> UnknownKey:
        """Copy the error with what may have been meant, by the places of the whole file."""
        return UnknownKey(self.section, self.word, self.value, self.known, self.file, places)
