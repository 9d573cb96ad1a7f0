"""Train a trial again in a new process and hold it against what the MLflow store says of it, bit by bit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from regsearch.config import EPOCHS, VIOLATION
from regsearch.data import check_rows, verify_digest
from regsearch.driver.executor import start_executor
from regsearch.driver.retrain import train_all
from regsearch.errors import UserError
from regsearch.space import SCHEDULE, regularizer_of
from regsearch.system.files import JsonObject
from regsearch.tracking.log.history import RunHistory
from regsearch.tracking.mlflow.delivered import delivered_runs
from regsearch.tracking.mlflow.runs import LATEST, read_curve
from regsearch.trial import Trial
from regsearch.workspace.forms import check_versions, read_log
from regsearch.workspace.machine import machine, recorded_machine
from regsearch.workspace.spec import StudySpec
from regsearch.workspace.stores import written_anew


@dataclass(frozen=True)
class Difference:
    """One value in which store and replay differ; None where one of them has no value."""

    epoch: int
    metric: str
    stored: float | None
    found: float | None

    def __str__(self) -> str:
        stored, found = ("nothing" if each is None else repr(each) for each in (self.stored, self.found))
        return f"epoch {self.epoch}, {self.metric}: stored {stored}, found {found}"


@dataclass(frozen=True)
class Replay:
    """What a replay found.

    Args:
        study, number: the trial.
        epochs, values: how many epochs and how many values of them were compared.
        copied: the trials that it copied weights from, which were trained again up to there: number and epoch. What it
            measured before the last of these epochs was with other weights, and is not compared.
        differences: where store and replay differ, in the order of epochs and metrics; empty where they agree.
        machine: what the bits depend on that is not now as it was recorded: name to (recorded, now).
    """

    study: str
    number: int
    epochs: int
    values: int
    differences: tuple[Difference, ...]
    machine: dict[str, tuple[object, object]]
    copied: tuple[tuple[int, int], ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether no value differs."""
        return not self.differences

    def sentence(self) -> str:
        """State the finding in one line, the first difference included."""
        what = f"trial {self.number} of {self.study}"
        if self.copied:
            what += (
                f", copied from {', then '.join(f'trial {donor} at epoch {epoch}' for donor, epoch in self.copied)},"
            )
        if self.agrees:
            return f"{what} agrees: {self.values} values of {self.epochs} epochs, every one to the last bit"
        first = f"{what} differs in {len(self.differences)} of {self.values} values, first in {self.differences[0]}"
        changed = ", ".join(f"{name} {old} then, {now} now" for name, (old, now) in self.machine.items())
        return f"{first} ({changed})" if changed else first

    def to_json(self) -> JsonObject:
        """Encode the finding as plain JSON for programs."""
        first = self.differences[0] if self.differences else None
        return {
            "study": self.study,
            "trial": self.number,
            "agrees": self.agrees,
            "epochs": self.epochs,
            "values": self.values,
            "copied": [list(each) for each in self.copied],
            "differences": len(self.differences),
            "first": first
            and {"epoch": first.epoch, "metric": first.metric, "stored": first.stored, "found": first.found},
        }


def replay(spec: StudySpec, number: int) -> Replay:
    """Train trial `number` of a study again, as long as it was trained, and compare it with the MLflow store.

    The worker processes are new; pack width, workers and compilation are those that the study recorded. What a trial of
    a population copied is trained again with it: stage by stage, with the knobs and the seed of each.

    Raises:
        UserError: there is no such trial, it has no curve yet, the data changed, a file is damaged or newer, or another
            process works on this study.
    """
    check_versions(spec.folder)
    recorded = _recorded(spec, number)
    check_rows(spec.folder.data)
    known = recorded_machine(spec.folder.path)
    with spec.folder.lock():
        return _replay(spec, recorded, known)


def _replay(spec: StudySpec, recorded: RunHistory, known: JsonObject) -> Replay:
    number, trial = recorded.number, _untrained(recorded)
    begun, stored = trial.history()[-1].epoch, _stored(spec, number)
    if trial.stages:
        stored = {key: value for key, value in stored.items() if begun < key[0] <= recorded.last_epoch}
    if not stored:
        raise UserError("the trial has no curve in the store", key="NUMBER", value=number, allowed=_goes_on(spec))
    verify_digest(spec.config.data, spec.config.folder, spec.folder.data)
    # What the driver derives from a report is not measured again.
    stored = {key: each for key, each in stored.items() if not _derived(key[1].removesuffix(LATEST))}
    executor = start_executor(spec, again=True)
    try:
        train_all(executor, [trial], max(epoch for epoch, _ in stored), lambda ended, weights: None)
    finally:
        executor.close()
    losses = {
        (report.epoch, name): value
        for report in trial.reports
        for name, value in report.metrics.items()
        if report.epoch > begun and math.isfinite(value)  # what is not finite is not stored
    }
    # A metric's latest value stands in the store a second time.
    losses |= {key: losses[key[0], name] for key in stored if (key[0], name := key[1].removesuffix(LATEST)) in losses}
    keys = sorted({*stored, *losses})
    pairs = [Difference(*key, stored.get(key), losses.get(key)) for key in keys]
    now = machine()
    return Replay(
        spec.name,
        number,
        sum(report.epoch > begun for report in trial.reports),
        len(keys),
        tuple(pair for pair in pairs if pair.stored != pair.found),
        {name: (known[name], now[name]) for name in now if name in known and known[name] != now[name]},
        tuple((stage.trial, after.epoch) for stage, after in pairwise(trial.history()) if stage.trial != after.trial),
    )


def _stored(spec: StudySpec, number: int) -> dict[tuple[int, str], float]:
    """The curve that the store has of a trial; where it lost the trial, what mends that is named."""
    try:
        return read_curve(spec.uri, spec.name, number)
    except UserError as error:
        if error.key not in ("name", "NUMBER"):
            raise
        lost = ("trial", number) in delivered_runs(spec.folder.outbox)
        allowed = written_anew(spec.name) if lost else _goes_on(spec)
        raise UserError(error.what, key="NAME", value=spec.name, allowed=allowed) from None


def _derived(metric: str) -> bool:
    """Whether the driver derives a metric from reports and settings."""
    return metric in (EPOCHS, VIOLATION) or regularizer_of(metric) == SCHEDULE


def _recorded(spec: StudySpec, number: int) -> RunHistory:
    """Find the trial in the log.

    Raises:
        UserError: there is no such trial, or none yet.
    """
    trials = read_log(spec.folder).trials()
    if number not in trials:
        known = f"there are 0 to {max(trials)}" if trials else "there is none yet"
        more = f"; {_goes_on(spec)}" if number < spec.config.search.trials else ""
        raise UserError("the study has no such trial", key="NUMBER", value=number, allowed=known + more)
    return trials[number]


def _goes_on(spec: StudySpec) -> str:
    """Say what brings a study at rest to its end, and the store to what its log has."""
    return f"`regsearch study resume {spec.name}` goes on with it"


def _untrained(recorded: RunHistory) -> Trial:
    """Make the trial anew: its settings and seeds to the last bit, which the store has only as text."""
    params = {name: value for name, value in recorded.params.items() if name != "seed"}
    return Trial(recorded.number, params, int(recorded.params["seed"]), stages=recorded.stages)
