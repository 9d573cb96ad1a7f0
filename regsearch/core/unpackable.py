"""What of a user's model keeps it from being packed."""

from __future__ import annotations

import linecache
import sysconfig
import traceback
from pathlib import Path

import torch

_PACKAGE = str(Path(__file__).resolve().parent.parent)
_LIBRARIES = (str(Path(torch.__file__).resolve().parent), _PACKAGE, sysconfig.get_paths()["stdlib"])
_ON_DATA = ("data-dependent", ".item()", "_local_scalar_dense", "vmap over calling")


def operation_at_fault(error: BaseException) -> str:
    """Where in a user's model a trace failed, and why, in one line: `if h.mean() > 0:` (model.py, line 12): ..."""
    message = (str(error).splitlines() or [type(error).__name__])[0]
    why = "its result depends on the data" if any(part in str(error) for part in _ON_DATA) else message
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        if frame.filename.startswith(("<", *_LIBRARIES)):
            continue
        line = (frame.line or linecache.getline(frame.filename, frame.lineno or 0)).strip()
        return f"`{line}` ({Path(frame.filename).name}, line {frame.lineno}): {why}"
    return message
