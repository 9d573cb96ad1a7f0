"""Start what trains the packs of a study."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from regsearch.executors.executor import Executor
from regsearch.executors.local import LocalExecutor
from regsearch.study.study import Study
from regsearch.workspace.machine import recorded_machine
from regsearch.workspace.stores import without_addresses


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
