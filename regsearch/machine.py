"""Where a study trains: its executor, and the machine as far as the bits of a curve depend on it."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from regsearch.executors.base import Executor
from regsearch.executors.local import LocalExecutor
from regsearch.files import write_json
from regsearch.stores import without_addresses
from regsearch.study import Study

_FILE = "machine.json"


def machine() -> dict[str, Any]:
    """What the bits of a curve depend on besides the study: kind of processor, and versions."""
    names = ("torch", "numpy")
    return {"processor": platform.machine(), "python": platform.python_version(), **{n: version(n) for n in names}}


def recorded_machine(folder: Path) -> dict[str, Any]:
    """What `record_machine` kept of the study in this folder; nothing before it has begun."""
    file = folder / _FILE
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return found


def start_executor(
    study: Study, say: Callable[[str], None] = lambda line: None, again: bool = False, data: Path | None = None
) -> Executor:
    """Start what trains the study's packs: as it was recorded, where the study has begun, else as is measured.

    Args:
        say: is told in a line what a user should know of.
        again: with the recorded number of workers, too.
        data: the folder of the rows, by default that of the study's own.
    """
    known, search = recorded_machine(study.folder), study.config.search
    given = (
        without_addresses(study.config).to_json(),
        str(data or study.folder / "data"),
        study.space.regularizers(),
        search.parallel + (search.engine == "ray_tune"),  # Ray Tune's trials, and the baseline beside them
        known["workers"] if again else search.workers,
        known.get("width") if again else search.width or known.get("width"),
        known.get("compiled", study.config.train.compile),
        say,
    )
    if study.ray is None or again:
        return LocalExecutor(*given, device=search.device)
    from regsearch.executors.ray import RayExecutor

    return RayExecutor(study.ray, *given, device=search.device)


def record_machine(folder: Path, executor: Executor) -> None:
    """Keep what the bits of a curve depend on, and the width, which halves where memory runs out."""
    known = {"width": executor.width, "workers": executor.workers, "compiled": executor.compiled, **machine()}
    write_json(folder / _FILE, known)
