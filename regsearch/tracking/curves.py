"""The curves and stages of trials, from an outbox: records are there before they reach MLflow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from regsearch.tracking.outbox import read_from
from regsearch.tracking.protocol import Metrics, RunEnd, RunStages
from regsearch.trial import Report, Stage


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
