"""The machine as far as the bits of a curve depend on it."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any


def machine() -> dict[str, Any]:
    """What the bits of a curve depend on besides the study: kind of processor, and versions."""
    names = ("torch", "numpy")
    return {"processor": platform.machine(), "python": platform.python_version(), **{n: version(n) for n in names}}
