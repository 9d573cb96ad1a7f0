"""Know what each of Ray Tune's proxies knows of its trial, and what it waits for."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from regsearch.trial import Report, Trial, TrialState

if TYPE_CHECKING:
    from regsearch.search.ray_tune.mailbox import TuneResult

_SETTLED = 5.0
"""Seconds without another proxy after which those that came are all for now."""
_FIRST = 30.0
"""Seconds that the first proxy may take."""


class Snapshot(NamedTuple):
    """Name a trial's saved state, and the epochs trained by then."""

    name: str
    epoch: int

    @classmethod
    def of(cls, trial: int, epoch: int, turn: int) -> Snapshot:
        """Name the state of a trial after some epochs, saved in a turn of the clock."""
        return cls(f"{trial:05d}-{epoch:04d}-{turn}", epoch)

    @classmethod
    def named(cls, name: str) -> Snapshot:
        """Read the epochs from a name.

        >>> Snapshot.named("00017-0003-41").epoch
        3
        """
        return cls(name, int(name.split("-")[1]))


@dataclass
class ProxyState:
    """Hold how far a trial's proxy is.

    Args:
        at: epochs of the trial's curve that its proxy knows of, or will by the answer that is being put together.
        waits: it waits for an answer.
        until: the epoch with which it is answered, unless the trial ends before.
        results: the answer so far.
        lane: where its trial trains, None while it is nowhere.
        trained: epochs trained of what the lane holds.
        snapshot: the latest saved state.
    """

    at: int = 0
    waits: bool = False
    until: int = 0
    results: list[TuneResult] = field(default_factory=list)
    lane: int | None = None
    trained: int = 0
    snapshot: Snapshot | None = None

    def begin(self, snapshot: str | None) -> None:
        """Set it to where a new proxy begins: its trial's seed, or a saved state."""
        self.snapshot = None if snapshot is None else Snapshot.named(snapshot)
        self.at = 0 if self.snapshot is None else self.snapshot.epoch
        self.waits, self.results = False, []

    def ask(self, until: int) -> None:
        """Mark it as waiting for the epochs up to `until`."""
        self.waits, self.until = True, until

    def take_answer(self) -> list[TuneResult]:
        """Give what was put together for it; it waits no longer."""
        answer, self.waits, self.results = self.results, False, []
        return answer


class Arrivals:
    """Tell whether proxies that were started are still on their way.

    Tune gives a waiting trial the proxy of one that ended, and throws away the one that starts for it: where trials are
    short the first ones must not end before all proxies have started.
    """

    def __init__(self, proxies: int) -> None:
        self._awaited, self._came = proxies, time.monotonic() + _FIRST

    def came(self) -> None:
        """Note that a proxy has come."""
        self._awaited, self._came = max(0, self._awaited - 1), time.monotonic()

    def pending(self) -> bool:
        """Tell whether more are to be waited for."""
        if self._awaited and time.monotonic() < self._came + _SETTLED:
            return True
        self._awaited = 0
        return False


def result(report: Report, over: bool) -> TuneResult:
    """Give a report as Tune's result; `over`: the trial ended with it."""
    return {**report.metrics, "epoch": report.epoch, "done": over}


def known_results(trial: Trial, proxy: ProxyState, decides: int) -> list[TuneResult]:
    """Give the next epochs of a curve that is there, or how the trial ended; the proxy knows of them then.

    Args:
        decides: the next epoch at which Tune may decide.
    """
    if trial.state is TrialState.FAIL:
        return [{"failed": trial.reason or "it failed"}]
    if not trial.reports:
        return [{"failed": trial.reason or "it was ended before its first epoch"}]
    first = min(proxy.at, len(trial.reports) - 1)
    proxy.at = min(decides, len(trial.reports))
    over = trial.state.ended and proxy.at >= len(trial.reports)
    results = [result(report, False) for report in trial.reports[first : proxy.at]]
    return [*results[:-1], {**results[-1], "done": over}]
