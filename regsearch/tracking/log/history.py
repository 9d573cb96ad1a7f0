"""A study's trials and finals as its outbox has them: all of them within a second, and before MLflow knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from regsearch.tracking.log.outbox import read_from
from regsearch.tracking.log.records import Metrics, RunEnd, RunKind, RunStages, RunStart
from regsearch.trial import Report, Stage

REGULARIZERS_TAG = "regsearch.regularizers"


@dataclass
class RecordedRun:
    """One trial or final.

    Args:
        params: its knobs by flat name, and besides `seed` and, of a final, `candidate`, the trial it repeats.
        regularizers: the names of those that are on, joined by " + ", or "none".
        state: in Optuna's words; RUNNING before it ended.
        restored: the epoch whose weights it kept, None for the last.
        curve: metrics by epoch.
    """

    kind: RunKind
    number: int
    params: Mapping[str, Any]
    regularizers: str = "none"
    state: str = "RUNNING"
    reason: str | None = None
    restored: int | None = None
    curve: dict[int, dict[str, float]] = field(default_factory=dict)

    def kept(self) -> dict[str, float]:
        """The metrics of the epoch whose weights it kept; empty before the first."""
        return self.curve.get(self.restored or max(self.curve, default=0), {})


def recorded_runs(outbox: Path) -> list[RecordedRun]:
    """Every trial and final that has begun, in the order in which they did; none where there is no outbox yet."""
    found: dict[tuple[str, int], RecordedRun] = {}
    for record, _ in read_from(outbox) if outbox.exists() else ():
        if isinstance(record, RunStart):
            names = named(record.tags.get(REGULARIZERS_TAG))
            found[record.kind, record.number] = RecordedRun(record.kind, record.number, record.params, names)
        elif isinstance(record, Metrics) and record.kind != "study":
            found[record.kind, record.number].curve.setdefault(record.epoch, {}).update(record.values)
        elif isinstance(record, RunEnd):
            run = found[record.kind, record.number]
            run.state, run.reason, run.restored = record.status, record.reason, record.restored
    return list(found.values())


def named(tag: str | None) -> str:
    """The regularizers of a run's tag, as they are shown."""
    return " + ".join((tag or "none").split("+"))


def trials_frame(runs: list[RecordedRun]) -> pd.DataFrame:
    """The trials, a row each by number: `number`, `state`, `reason`, `regularizers`, active knobs by flat name, then
    the metrics of the epoch whose weights the trial kept; what a trial lacks is missing."""
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


def recorded_curves(outbox: Path) -> dict[int, list[Report]]:
    """What the outbox knows of each trial's curve."""
    found: dict[int, dict[int, Report]] = {}
    for record, _ in read_from(outbox):
        if isinstance(record, Metrics) and record.kind == "trial":
            report = Report(record.number, record.epoch, dict(record.values))
            found.setdefault(record.number, {})[record.epoch] = report
        elif isinstance(record, RunStages):
            curve, begun = found.get(record.number, {}), record.stages[-1]["epoch"]
            found[record.number] = {epoch: report for epoch, report in curve.items() if epoch <= begun}
        elif isinstance(record, RunEnd) and record.kind == "trial" and record.restored is not None:
            curve = found[record.number]
            curve[max(curve)] = replace(curve[max(curve)], restored=record.restored)
    return {number: list(curve.values()) for number, curve in found.items()}


def recorded_stages(outbox: Path) -> dict[int, tuple[Stage, ...]]:
    """The stages of each trial that a population changed."""
    changed = (record for record, _ in read_from(outbox) if isinstance(record, RunStages))
    return {record.number: tuple(Stage(**each) for each in record.stages) for record in changed}
