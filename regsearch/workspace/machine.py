"""Record the machine that a study trains on, as far as the bits of a curve depend on it."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path

from regsearch.executors.executor import Executor
from regsearch.system import schema
from regsearch.system.files import JsonObject, write_json

_FILE = "machine.json"


def machine() -> JsonObject:
    """List what the bits of a curve depend on besides the study: kind of processor, and versions."""
    names = ("torch", "numpy")
    return {"processor": platform.machine(), "python": platform.python_version(), **{n: version(n) for n in names}}


def recorded_machine(folder: Path) -> JsonObject:
    """Read what `record_machine` kept of the study in this folder; nothing before it has begun.

    Raises:
        UserError: a newer regsearch wrote it.
    """
    return schema.read_numbered(folder / _FILE, schema.MACHINE)


def record_machine(folder: Path, executor: Executor) -> None:
    """Keep what the bits of a curve depend on, and the width, which halves where memory runs out.

    Fields that another version recorded stay.
    """
    known = {"width": executor.width, "workers": executor.workers, "compiled": executor.compiled, **machine()}
    write_json(folder / _FILE, {schema.KEY: schema.MACHINE, **recorded_machine(folder), **known})
