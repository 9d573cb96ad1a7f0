"""A study from its file to its answer: the object that the command line and Python users share."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from regsearch.config import StartOptions, StudyConfig, load_config
from regsearch.errors import UserError, in_one_line_each
from regsearch.executors.server import start_server
from regsearch.space import SearchSpace
from regsearch.study.options import FinalizeOptions
from regsearch.study.progress import Snapshot, Stop
from regsearch.system.files import JsonObject
from regsearch.workspace.answer import Answer
from regsearch.workspace.folder import home
from regsearch.workspace.forms import check_forms, check_search, check_versions, list_studies
from regsearch.workspace.spec import StudySpec
from regsearch.workspace.stores import keep_store

if TYPE_CHECKING:
    import pandas as pd

    from regsearch.core.cost import Cost
    from regsearch.study.progress import Progress
    from regsearch.study.replay import Replay
    from regsearch.workspace.status import StudyStatus


@in_one_line_each
class Study:
    """Search, hold finals and answer: one study of one model on one table.

    Args:
        config: the study file, read and checked.
        created_ms: when it began, milliseconds since 1970; None for one that has not begun.
        ray: the Ray cluster that trains its packs, see `regsearch.executors.ray.RayExecutor`; None for this machine.

    Attributes:
        spec, stop: what the study is; ends the search early when it is asked to.
    """

    def __init__(self, config: StudyConfig, created_ms: int | None = None, ray: str | None = None) -> None:
        self.spec = StudySpec.of(config, created_ms, ray)
        self.stop = Stop()

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        *,
        trials: int | None = None,
        seed: int | None = None,
        tracking_uri: str | None = None,
        device: str | None = None,
        storage: str | None = None,
        ray: str | None = None,
    ) -> Study:
        """Read the study that a YAML file describes; the arguments override what it says.

        Raises:
            UserError: the file, or a value that is given in its place.
        """
        options = StartOptions(trials, seed, tracking_uri, device, storage)
        return cls(load_config(path, options, _regularizers), ray=ray)

    @classmethod
    def open(cls, name: str, ray: str | None = None) -> Study:
        """Open the study that was started under `name`.

        Raises:
            UserError: there is none.
        """
        spec = StudySpec.open(name, ray)
        return cls(spec.config, spec.created_ms, ray)

    @staticmethod
    def list(refused: Callable[[UserError], None] | None = None) -> list[JsonObject]:
        """List every study begun here, see `list_studies`; `refused` is told of those that cannot be read."""
        return list_studies(home(), refused)

    @property
    def name(self) -> str:
        """The study's name."""
        return self.spec.name

    @property
    def config(self) -> StudyConfig:
        """The study file, read and checked."""
        return self.spec.config

    @property
    def folder(self) -> Path:
        """The folder of the study's state."""
        return self.spec.folder.path

    @property
    def uri(self) -> str:
        """The address of the MLflow store that has the study's runs."""
        return self.spec.uri

    @property
    def space(self) -> SearchSpace:
        """The settings this study may try."""
        return self.spec.space

    def with_tensorboard(self, folder: str | None) -> Study:
        """Set this study to write its curves for TensorBoard below `folder` too; None leaves it as the file says."""
        if folder is not None:
            tracking = self.config.tracking.model_copy(update={"tensorboard": str(Path(folder).absolute())})
            self.spec = self.spec.with_config(self.config.model_copy(update={"tracking": tracking}))
        return self

    def check(self) -> JsonObject:
        """Check everything a run would need, and write nothing; see `regsearch.study.checks.check_all`."""
        from regsearch.study.checks import check_all

        return check_all(self.spec)

    def cost(self) -> Cost:
        """Measure what each regularizer of the study adds to a training step, on one core; nothing is written.

        Raises:
            UserError: what a run would refuse.
        """
        from regsearch.study.checks import measure_cost

        return measure_cost(self.spec)

    def run(self, *, replace: bool = False, timeout: float | None = None, progress: Progress | None = None) -> Answer:
        """Start the study: seal the data, search, hold finals, register the champion.

        Args:
            replace: delete the study of this name first, if there is one.
            timeout: seconds after which the search ends, resumable.
            progress: is told how it goes.

        Raises:
            UserError: something cannot be used; nothing is left behind.
        """
        from regsearch.study.create import create_study

        start_server()
        begun = time.time()
        self.spec = create_study(self.spec, begun, replace, progress)
        with self.spec.folder.lock():
            return _go_on(self, timeout, progress, begun)

    def resume(self, timeout: float | None = None, progress: Progress | None = None) -> Answer:
        """Go on from wherever the study was stopped or killed; a finished study gives its answer.

        Raises:
            UserError: the data changed, another process works on this study, or a file is damaged or newer.
        """
        from regsearch.data import verify_digest
        from regsearch.study.checks import check_cluster
        from regsearch.tracking.log.cursor import all_delivered
        from regsearch.tracking.tensorboard.folder import check_tensorboard

        folder, config = self.spec.folder, self.config
        check_tensorboard(config.tracking.tensorboard)
        check_forms(folder)
        answer = Answer.read(folder) if folder.answer.exists() else None
        if answer is not None and all_delivered(folder.outbox):
            keep_store(folder, self.uri, _say(progress), needed=False)
            with _event_files(self.spec, progress):
                return answer
        check_search(folder, config, self.spec.created_ms)
        start_server()
        check_cluster(self.spec)
        begun = time.time()
        with folder.lock():
            if progress is not None:
                progress.show(Snapshot(study=self.name, phase="checking", message="whether the data changed"))
            verify_digest(config.data, config.folder, folder.data)
            return _go_on(self, timeout, progress, begun)

    def finalize(
        self,
        *,
        top: int | None = None,
        seeds: int | None = None,
        splits: int | None = None,
        refit: bool | None = None,
        progress: Progress | None = None,
    ) -> Answer:
        """Hold the finals of a study, again if it had some; a search that was stopped goes on to its end first.
        The arguments take the place of the study file's `finalize`, from here on.

        Raises:
            UserError: one of them cannot be used, no trial or not the baseline has finished, the data changed, or
                another process works on this study.
        """
        from regsearch.study.checks import check_cluster, ready_for_finals

        options = FinalizeOptions(top, seeds, splits, refit)
        options.applied(self.config)  # refused before the cluster is joined
        check_forms(self.spec.folder)
        check_search(self.spec.folder, self.config, self.spec.created_ms)
        start_server()
        check_cluster(self.spec)
        begun = time.time()
        with self.spec.folder.lock():
            self.spec = ready_for_finals(self.spec, options, _say(progress))
            return _go_on(self, None, progress, begun)

    def frame(self) -> pd.DataFrame:
        """Tabulate trials and finals from MLflow: kind, number, state, parameters and last metrics by flat name."""
        from regsearch.tracking.mlflow.runs import read_runs

        check_versions(self.spec.folder)
        return read_runs(self.uri, self.name)

    def replay(self, number: int) -> Replay:
        """Train a trial again and compare it with the MLflow store; see `regsearch.study.replay.replay`."""
        from regsearch.study.replay import replay

        return replay(self.spec, number)

    def show(self) -> Answer | StudyStatus:
        """Give the study's answer, or how far it is without one; another process may be working on it."""
        from regsearch.workspace.status import answer_or_status

        return answer_or_status(self.spec.folder, self.config)

    def delete(self) -> None:
        """Delete the study here, in the MLflow store and for TensorBoard; the ledger keeps its openings of the test."""
        from regsearch.study.create import delete_study

        delete_study(self.spec)


def _regularizers() -> tuple[str, ...]:
    """The names that a space may hold; torch is imported for them."""
    from regsearch.regularizers import all_regularizers

    return tuple(all_regularizers())


def _go_on(study: Study, timeout: float | None, progress: Progress | None, begun: float) -> Answer:
    """Run a study that is locked to its end."""
    from regsearch.study.runner import StudyRunner

    with _event_files(study.spec, progress):
        return StudyRunner(study.spec, study.stop, timeout, progress, begun).run()


def _event_files(spec: StudySpec, progress: Progress | None) -> contextlib.AbstractContextManager[None]:
    """Have TensorBoard's files of a study written meanwhile, where it asks for them."""
    from regsearch.tracking.tensorboard.writer_process import event_files

    return event_files(spec.folder.outbox, spec.event_files, _say(progress))


def _say(progress: Progress | None) -> Callable[[str], None]:
    return progress.say if progress else lambda line: None


__all__ = ["Answer", "Study", "home"]
