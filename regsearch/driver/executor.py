"""Start what trains the packs of a study: on its own rows, and on other cuts of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from regsearch.executors.executor import Executor, ExecutorSettings
from regsearch.executors.local import LocalExecutor
from regsearch.workspace.machine import record_machine, recorded_machine
from regsearch.workspace.spec import StudySpec
from regsearch.workspace.stores import without_addresses


def start_executor(
    spec: StudySpec, say: Callable[[str], None] = lambda line: None, again: bool = False, data: Path | None = None
) -> Executor:
    """Start the executor of a study: as it was recorded, where the study has begun, else as is measured.

    Args:
        say: is told in a line what a user should know of.
        again: with the recorded number of workers, too.
        data: the folder of the rows, by default that of the study's own.
    """
    known, search = recorded_machine(spec.folder.path), spec.config.search
    settings = ExecutorSettings(
        config=without_addresses(spec.config).to_json(),
        data=str(data or spec.folder.data),
        space=spec.space,
        lanes=search.parallel + (search.engine == "ray_tune"),  # Ray Tune's trials, and the baseline beside them
        workers=(known.get("workers") if again else None) or search.workers,
        width=known.get("width") if again else search.width or known.get("width"),
        compiled=known.get("compiled", spec.config.train.compile),
        device=search.device,
    )
    if spec.ray is None or again:
        return LocalExecutor(settings, say)
    from regsearch.executors.ray import RayExecutor

    return RayExecutor(spec.ray, settings, say)


class StudyExecutors:
    """Give the executors of a study, one at a time: two would both need the cores.

    Args:
        say: is told in a line what a user should know of.

    Attributes:
        width: slots of a pack; 1 for one trial at a time.
        serial: the operation that keeps the model from being packed, or None.
    """

    def __init__(self, spec: StudySpec, say: Callable[[str], None]) -> None:
        self._spec, self._say = spec, say
        self._executor: Executor | None = None
        self.width = 0
        self.serial: str | None = None

    def own(self) -> Executor:
        """Give the executor on the study's own rows; it is started where none runs."""
        if self._executor is None:
            self._executor = start_executor(self._spec, self._say)
            self._record(self._executor)
            self.width, self.serial = self._executor.width, self._executor.serial
        return self._executor

    @contextmanager
    def on(self, data: Path) -> Iterator[Executor]:
        """Give an executor on the rows in the folder `data`; that on the study's own rows ends first."""
        self.close()
        executor = start_executor(self._spec, self._say, data=data)
        try:
            yield executor
        finally:
            executor.close()

    def close(self) -> None:
        """End the workers, if any run, and record the width that they came to."""
        if self._executor is None:
            return
        executor, self._executor = self._executor, None
        try:
            if executor.workers:  # else the last one was lost
                self._record(executor)
        finally:
            executor.close()

    def _record(self, executor: Executor) -> None:
        record_machine(self._spec.folder.path, executor)
