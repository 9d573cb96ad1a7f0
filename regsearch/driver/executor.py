"""Start what trains the packs of a study."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from regsearch.executors.executor import Executor, ExecutorSettings
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
    settings = ExecutorSettings(
        config=without_addresses(study.config).to_json(),
        data=str(data or study.folder / "data"),
        regularizers=study.space.regularizers(),
        lanes=search.parallel + (search.engine == "ray_tune"),  # Ray Tune's trials, and the baseline beside them
        workers=known["workers"] if again else search.workers,
        width=known.get("width") if again else search.width or known.get("width"),
        compiled=known.get("compiled", study.config.train.compile),
        device=search.device,
    )
    if study.ray is None or again:
        return LocalExecutor(settings, say)
    from regsearch.executors.ray import RayExecutor

    return RayExecutor(study.ray, settings, say)
