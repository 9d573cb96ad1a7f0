"""Start the server that the processes of a study are forked from."""

from __future__ import annotations

from regsearch.system import forking

PRELOADED = ["regsearch.executors.preload"]
"""What the server imports."""


def start_server() -> None:
    """Start the server of `regsearch.system.forking`, which imports what cuts data and trains packs."""
    forking.start_server(PRELOADED)
