"""Record the machine that a study trains on, as far as the bits of a curve depend on it."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

from pydantic import Field

from regsearch.executors.executor import Executor
from regsearch.system import documents, schema
from regsearch.system.files import JsonObject, write_json

_FILE = "machine.json"
Positive = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class _MachineForm:
    """What a study goes on with; all else is shown as it stands."""

    width: Positive | None = None
    workers: Positive | None = None
    compiled: bool | None = None


def machine() -> JsonObject:
    """List what the bits of a curve depend on besides the study: kind of processor, and versions."""
    names = ("torch", "numpy")
    return {"processor": platform.machine(), "python": platform.python_version(), **{n: version(n) for n in names}}


def recorded_machine(folder: Path) -> JsonObject:
    """Read what `record_machine` kept of the study in this folder; nothing before it has begun.

    Raises:
        UserError: it is damaged, or a newer regsearch wrote it.
    """
    file = folder / _FILE
    if not file.exists():
        return {}
    mend = "bring it back from a copy, or remove it: how wide packs can be is then measured anew"
    known = documents.read_object(file, schema.MACHINE, mend, _MachineForm)
    for name, value in known.items():
        if isinstance(value, list | dict):
            raise documents.DamagedFile("is damaged: it is no single value", file=file, key=name, allowed=mend)
    return known


def record_machine(folder: Path, executor: Executor) -> None:
    """Keep what the bits of a curve depend on, and the width, which halves where memory runs out.

    Fields that another version recorded stay.
    """
    known = {"width": executor.width, "workers": executor.workers, "compiled": executor.compiled, **machine()}
    write_json(folder / _FILE, {schema.KEY: schema.MACHINE, **recorded_machine(folder), **known})
