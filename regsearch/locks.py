"""One process at a time on a study here."""

from __future__ import annotations

import fcntl

from regsearch.errors import UserError


def hold(handle: int, name: str) -> None:
    """Lock an open file or folder of the study `name` until it is closed; a killed process holds nothing.

    Raises:
        UserError: another process holds it.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise busy(name) from None


def busy(name: str) -> UserError:
    """What a second process is told."""
    return UserError("another process works on this study", key="name", value=name, allowed="wait for it, or stop it")
