"""The driver's clock as a search keeps it, and the journal up to the last one: read without loading Optuna."""

from __future__ import annotations

import json
from pathlib import Path

from regsearch.search.protocol import Clock
from regsearch.system import schema
from regsearch.system.documents import FROM_A_COPY, damaged, read_text
from regsearch.system.files import JsonObject

CLOCK = "regsearch:clock"
PARAMS = "regsearch:params"
"""Attributes of a study and of a trial in Optuna: the driver's clock, and the trial's setting."""


def numbered(clock: Clock) -> JsonObject:
    """Encode the clock as it is kept: with the number of the form that the search is kept in."""
    return {**clock, schema.KEY: schema.SEARCH}


def check_clock(clock: object, place: str | Path) -> None:
    """Refuse a search that a newer regsearch went on with.

    Args:
        clock: the last one that is kept; None where there is none.
        place: where it is kept.

    Raises:
        DamagedFile: it is no clock.
        UserError: names both versions.
    """
    if clock is None:
        return
    if not isinstance(clock, dict):
        raise damaged(place, "the clock of the search is no object")
    schema.check_version(clock.get(schema.KEY), schema.SEARCH, place)


def check_journal(path: Path) -> None:
    """Refuse a journal that a newer regsearch went on with; it stays as it is.

    Raises:
        DamagedFile: its last turn cannot be read.
        UserError: names both versions.
    """
    whole = whole_turns(path).splitlines()
    if whole:
        attributes = parse_turn(whole[-1], path, len(whole)).get("user_attr")
        check_clock(attributes.get(CLOCK) if isinstance(attributes, dict) else attributes, path)


def whole_turns(path: Path) -> bytes:
    """Read a journal up to the end of its last whole turn; empty where there is none yet.

    Raises:
        DamagedFile: something else is in its place.
    """
    if not path.exists():
        return b""
    content = read_text(path, FROM_A_COPY)
    return content[: _last_clock(content)]


def parse_turn(line: bytes, path: Path, number: int) -> JsonObject:
    """Parse a line of a journal.

    Args:
        number: of the line, from 1 up.

    Raises:
        DamagedFile: it is not what Optuna wrote.
    """
    try:
        log = json.loads(line)
    except ValueError:
        log = None
    if not isinstance(log, dict) or not isinstance(log.get("op_code"), int):
        raise damaged(path, f"line {number} is no step of a search")
    return log


def _last_clock(content: bytes) -> int:
    """Where the last whole turn ends."""
    mark = content.rfind(f'"{CLOCK}"'.encode())
    while mark >= 0:
        end = content.find(b"\n", mark)
        if end >= 0:
            return end + 1
        mark = content.rfind(f'"{CLOCK}"'.encode(), 0, mark)
    return 0
