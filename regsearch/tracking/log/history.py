"""A study's log read as what counts by now: the one fold of its records, whole or as they come.

Standard library only; pandas is loaded by `trials_frame` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from regsearch.system.documents import damaged
from regsearch.system.files import JsonMapping
from regsearch.tracking.log.outbox import read_from
from regsearch.tracking.log.records import (
    Artifact,
    Metrics,
    Model,
    Note,
    Record,
    RunEnd,
    RunKind,
    RunStages,
    RunStart,
    StudyEnd,
    StudyStart,
)
from regsearch.trial import Report, Stage, kept_epoch

if TYPE_CHECKING:
    import pandas as pd

REGULARIZERS_TAG = "regsearch.regularizers"

RunId = tuple[RunKind, int]


@dataclass
class RunHistory:
    """One trial or final, as far as the log knows it.

    Args:
        params: its knobs by flat name, those of its last stage where a population changed them; besides `seed` and, of
            a final, `candidate`, the trial it repeats.
        name: what it is called in MLflow and TensorBoard.
        tags: of its run, the latest text of each.
        begun_ms, ended_ms: milliseconds since 1970; None before it ended.
        state: in Optuna's words; RUNNING before it ended.
        reason: why it ended, where the state alone does not say it.
        restored: the epoch whose weights it went back to at its end, None for the last.
        stages: how its weights came about, where a population changed it; else empty.
        curve: metrics by epoch, in the order of the epochs; what a population voided is gone.
        times: when each epoch of the curve was measured, milliseconds since 1970.
    """

    kind: RunKind
    number: int
    params: JsonMapping
    name: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    begun_ms: int = 0
    ended_ms: int | None = None
    state: str = "RUNNING"
    reason: str | None = None
    restored: int | None = None
    stages: tuple[Stage, ...] = ()
    curve: dict[int, dict[str, float]] = field(default_factory=dict)
    times: dict[int, int] = field(default_factory=dict)

    @property
    def regularizers(self) -> str:
        """Join the names of those that are on by " + "; "none" without any."""
        return " + ".join((self.tags.get(REGULARIZERS_TAG) or "none").split("+"))

    @property
    def last_epoch(self) -> int:
        """Give the last epoch of the curve, 0 before the first."""
        return max(self.curve, default=0)

    @property
    def kept_epoch(self) -> int:
        """Give the epoch whose weights the run kept, or has now; 0 before the first."""
        return kept_epoch(self.last_epoch, self.restored)

    def kept(self) -> dict[str, float]:
        """Give the metrics of the epoch whose weights the run kept; empty where it measured none."""
        return self.curve.get(self.kept_epoch, {})

    def reports(self) -> list[Report]:
        """Give the curve as the reports that a driver goes on from."""
        reports = [Report(self.number, epoch, dict(metrics)) for epoch, metrics in sorted(self.curve.items())]
        if reports and self.restored is not None:
            reports[-1] = replace(reports[-1], restored=self.restored)
        return reports

    def set_back(self, stages: tuple[Stage, ...], tags: Mapping[str, str]) -> None:
        """Set the run back to where its last stage begins: what it measured after that is void, and it runs again."""
        self.stages = stages
        begun = stages[-1].epoch
        own = {name: value for name, value in self.params.items() if name == "seed"}
        self.params = {**stages[-1].params, **own}
        self.tags.update(tags)
        self.state, self.reason, self.restored, self.ended_ms = "RUNNING", None, None, None
        self.curve = {epoch: metrics for epoch, metrics in self.curve.items() if epoch <= begun}
        self.times = {epoch: time for epoch, time in self.times.items() if epoch <= begun}


class StudyHistory:
    """A study as its log has it: within a second of what happens, and before any store knows.

    Attributes:
        start: how the study began, None before it did.
        runs: trials and finals by kind and number, in the order in which they began.
        tags: of the study, the latest text of each.
        experiment: tags of its experiment.
        results: what was found by the finals, by step: a study whose finals are held again has several.
        artifacts: files that were logged, the latest of each place.
        models: models that were logged.
        status: how the study came to rest, RUNNING where it was taken up again; None before it first did.
    """

    def __init__(self) -> None:
        self.start: StudyStart | None = None
        self.runs: dict[RunId, RunHistory] = {}
        self.tags: dict[str, str] = {}
        self.experiment: dict[str, str] = {}
        self.results: dict[int, dict[str, float]] = {}
        self.artifacts: dict[tuple[str, int, str, str], Artifact] = {}
        self.models: list[Model] = []
        self.status: str | None = None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the log at `path`; empty where there is none yet, and without a last line that is being written.

        Raises:
            ValueError: the log is damaged.
        """
        return cls.of(record for record, _ in read_from(path)) if path.exists() else cls()

    @classmethod
    def read_whole(cls, path: Path, begun: bool = True) -> Self:
        """Read the log at `path` as `read` does, and refuse one that has lost a line which a later one builds on.

        Args:
            begun: refuse one that is not there, or does not begin with the study's start, too.

        Raises:
            DamagedFile: names the line, and what must stand before it.
        """
        history = cls()
        for line, (record, _) in enumerate(read_from(path) if begun or path.exists() else (), 1):
            if begun and line == 1 and not isinstance(record, StudyStart):
                raise damaged(path, "it does not begin with the study's start")
            if missing := history._missing(record):
                raise damaged(path, f"line {line} needs {missing} before it, which is not there")
            history.apply(record)
        return history

    @classmethod
    def of(cls, records: Iterable[Record]) -> Self:
        """Fold these records, the first ones of a log."""
        history = cls()
        for record in records:
            history.apply(record)
        return history

    def apply(self, record: Record) -> None:
        """Take in the next record of the log; the first record of a study begins its history anew."""
        _APPLY[type(record)](self, record)

    def trials(self) -> dict[int, RunHistory]:
        """Give the trials by number, in the order in which they began."""
        return {number: run for (kind, number), run in self.runs.items() if kind == "trial"}

    def finals(self) -> dict[int, RunHistory]:
        """Give the finals by number, in the order in which they began."""
        return {number: run for (kind, number), run in self.runs.items() if kind == "final"}

    def reports(self) -> dict[int, list[Report]]:
        """Give the curve of every trial that has one, as reports by trial number."""
        return {number: run.reports() for number, run in self.trials().items() if run.curve}

    def _missing(self, record: Record) -> str | None:
        """What must stand before a record and does not. A trial that was set back may go on from another's epoch."""
        if isinstance(record, RunStart):
            last = next(reversed(self.runs.values()), None)
            if record.kind == "final" and last is not None and last.kind == "final" and last.ended_ms is None:
                return f"the end of final {last.number}"  # each is written whole
            return None
        if not isinstance(record, Metrics | RunStages | RunEnd) or record.kind == "study":
            return None
        run = self.runs.get((record.kind, record.number))
        if run is None:
            return f"the start of {record.kind} {record.number}"
        if isinstance(record, Metrics) and not run.stages and not {record.epoch - 1, record.epoch} & {0, *run.curve}:
            return f"epoch {record.epoch - 1} of {record.kind} {record.number}"
        return None

    def _run(self, kind: RunKind, number: int) -> RunHistory:
        run = self.runs.get((kind, number))
        if run is None:  # only a log that was cut lacks the start
            run = self.runs[kind, number] = RunHistory(kind, number, {}, f"{kind}-{number:03d}")
        return run

    def _study_start(self, record: StudyStart) -> None:
        self.__init__()  # type: ignore[misc]
        self.start = record
        self.tags.update(record.tags)

    def _run_start(self, record: RunStart) -> None:
        self.runs[record.kind, record.number] = RunHistory(
            record.kind, record.number, record.params, record.name, dict(record.tags), record.time_ms
        )

    def _metrics(self, record: Metrics) -> None:
        if record.kind == "study":
            self.results.setdefault(record.epoch, {}).update(record.values)
            return
        run = self._run(record.kind, record.number)
        run.curve.setdefault(record.epoch, {}).update(record.values)
        run.times[record.epoch] = record.time_ms

    def _run_stages(self, record: RunStages) -> None:
        stages = tuple(Stage(**stage) for stage in record.stages)
        self._run(record.kind, record.number).set_back(stages, record.tags)

    def _run_end(self, record: RunEnd) -> None:
        run = self._run(record.kind, record.number)
        run.state, run.reason, run.restored = record.status, record.reason, record.restored
        run.ended_ms = record.time_ms

    def _note(self, record: Note) -> None:
        tags = self.tags if record.kind == "study" else self._run(record.kind, record.number).tags
        tags.update(record.tags)
        self.experiment.update(record.experiment)

    def _artifact(self, record: Artifact) -> None:
        key = record.kind, record.number, record.artifact_path, Path(record.path).name
        self.artifacts[key] = record

    def _model(self, record: Model) -> None:
        self.models.append(record)

    def _study_end(self, record: StudyEnd) -> None:
        self.status = record.status


_APPLY: Mapping[type, Callable[[StudyHistory, Any], None]] = {
    StudyStart: StudyHistory._study_start,
    RunStart: StudyHistory._run_start,
    Metrics: StudyHistory._metrics,
    RunStages: StudyHistory._run_stages,
    RunEnd: StudyHistory._run_end,
    Note: StudyHistory._note,
    Artifact: StudyHistory._artifact,
    Model: StudyHistory._model,
    StudyEnd: StudyHistory._study_end,
}


def trials_frame(runs: Iterable[RunHistory]) -> pd.DataFrame:
    """Table the trials among `runs`, a row each by number: `number`, `state`, `reason`, `regularizers`, active knobs by
    flat name, then the metrics of the epoch whose weights the trial kept; what a trial lacks is missing."""
    import pandas as pd

    trials = sorted((run for run in runs if run.kind == "trial"), key=lambda run: run.number)
    knobs = dict.fromkeys(name for run in trials for name in run.params if name != "seed")
    rows = [
        {
            "number": run.number,
            "state": run.state,
            "reason": run.reason,
            "regularizers": run.regularizers,
            **{name: value for name, value in run.params.items() if name != "seed"},
            **run.kept(),
        }
        for run in trials
    ]
    fixed = ["number", "state", "reason", "regularizers", *knobs]
    return pd.DataFrame(rows, columns=list(dict.fromkeys([*fixed, *(name for row in rows for name in row)])))


__all__ = ["REGULARIZERS_TAG", "RunHistory", "StudyHistory", "trials_frame"]
