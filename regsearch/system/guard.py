"""The guard of sealed test rows: a process that searches cannot open them. Standard library only.

An audit hook (PEP 578) is told of every file that Python opens, whichever library asks, and refuses the sealed ones. It
guards against mistakes, not against malice: it does not see what compiled code opens by itself, a link of another
name, or the source table, which the author's own code on the same machine may read at any time.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SEALED = "sealed"
TEST_FILES = ("test_x.npy", "test_y.npy", "test_rows.npy", "test_cells.npz")

_depth = 0
_installed = False


def guard() -> None:
    """Refuse, from here to the end of this process, to open sealed test rows.

    Opening them raises PermissionError; `lifted` is the one way around, for the ledger.
    """
    global _depth, _installed
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True
    _depth += 1


@contextmanager
def guarded() -> Iterator[None]:
    """Refuse, for a stretch of work in a process that lives on, to open sealed test rows."""
    global _depth
    guard()
    try:
        yield
    finally:
        _depth -= 1


@contextmanager
def lifted() -> Iterator[None]:
    """Allow sealed rows to be opened, by whoever has written to the ledger that it does so."""
    global _depth
    before, _depth = _depth, 0
    try:
        yield
    finally:
        _depth = before


def _hook(event: str, given: tuple[object, ...]) -> None:
    if event == "open" and _depth and isinstance(given[0], str | bytes):
        folder, name = os.path.split(os.fsdecode(given[0]))
        if name in TEST_FILES and os.path.basename(folder) == SEALED:
            raise PermissionError(f"{os.fsdecode(given[0])} is sealed: only finals open it, by the ledger")
