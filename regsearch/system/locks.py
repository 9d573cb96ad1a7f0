"""One process at a time on a study here."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from regsearch.errors import UserError


def hold(handle: int, name: str) -> None:
    """Lock an open file or folder of the study `name` until it is closed; a killed process holds nothing.

    Raises:
        UserError: another process holds it.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise busy(name) from None
    except OSError as error:  # like a file system of the network that has no locks
        what, allowed = f"cannot be locked ({error.strerror})", "keep it on a file system that has locks"
        raise UserError(what, key="name", value=name, allowed=allowed) from None


def is_held(path: Path) -> bool | None:
    """Tell whether a process holds the lock file at `path`, without touching it; None where the system does not say."""
    try:
        inode = path.stat().st_ino
    except FileNotFoundError:
        return False
    try:
        held = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return None
    # `1: FLOCK  ADVISORY  WRITE 2345 00:2f:1234 0 EOF`; a line with `->` waits for the lock.
    words = (line.split() for line in held if "->" not in line)
    return any("FLOCK" in each and each[-3].rsplit(":", 1)[-1] == str(inode) for each in words)


def busy(name: str) -> UserError:
    """Make the refusal that a second process is told."""
    return UserError("another process works on this study", key="name", value=name, allowed="wait for it, or stop it")


@contextlib.contextmanager
def aside(root: Path, name: str) -> Iterator[Path]:
    """Make an empty folder that may become a study's. One process at a time has it; if a study is refused, none stays.

    Args:
        root: where studies are kept.

    Raises:
        UserError: nothing can be written there, or another process has it.
    """
    new = root / "studies" / f".{name}.new"
    made = [folder for folder in (new.parent, root) if not folder.exists()]
    try:
        new.mkdir(parents=True, exist_ok=True)
        handle = os.open(new, os.O_RDONLY)
    except OSError as error:
        allowed = "it must be a folder that can be written; REGSEARCH_HOME names another"
        raise UserError(
            f"cannot be written ({error.strerror})", key="mlruns", value=str(root), allowed=allowed
        ) from error
    try:
        hold(handle, name)
        try:
            if not new.exists():
                raise busy(name)  # it became the other's study before this process could hold it
            for left in new.iterdir():  # by a killed start
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            yield new
        finally:
            shutil.rmtree(new, ignore_errors=True)
            for folder in made:
                with contextlib.suppress(OSError):  # another study may be there by now
                    folder.rmdir()
    finally:
        os.close(handle)
