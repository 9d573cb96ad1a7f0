"""Writes files so that they are whole or not there: beside, flushed to disk, renamed."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regsearch.errors import UserError

JsonObject = dict[str, Any]
JsonMapping = Mapping[str, Any]
"""An object of a JSON file, for whoever only reads it."""


def write_whole(path: Path, text: str, mode: int = 0o666) -> None:
    """Write `text` to `path`: whatever happens meanwhile, the file is as before or holds all of it.

    Args:
        mode: who may read and write it, less what the process's umask forbids.
    """
    aside = path.with_name(f"{path.name}.part")
    try:
        aside.unlink(missing_ok=True)  # one that a kill left might be open to others
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with open(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: JsonObject) -> None:
    """Write an object as JSON, whole or not at all."""
    write_whole(path, json.dumps(content, indent=1))


def unwritable(folder: Path, error: OSError) -> UserError:
    """Make the refusal of a folder of regsearch's own state that cannot be written."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    allowed = "make it writable, or copy the project to where it is; REGSEARCH_HOME names the folder of all state"
    return UserError(
        f"cannot be written ({error.strerror or error})", file=folder, allowed="make room" if full else allowed
    )


def write_asked(path: Path, text: str, option: str | None) -> None:
    """Write a file that the user asked for, whole or not at all.

    Args:
        option: that named it, like `--out`; None where it is in its usual place, in a folder of regsearch's own.

    Raises:
        UserError: it cannot be written there.
    """
    try:
        write_whole(path, text)
    except OSError as error:
        if option is None:
            raise unwritable(path.parent, error) from None
        what = f"cannot be written: {error.strerror or error}"
        raise UserError(what, key=option, value=str(path), allowed="name a file in a folder that is there") from None
