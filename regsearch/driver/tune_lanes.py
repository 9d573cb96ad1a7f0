"""Give the trials of a study that Ray Tune searches lanes of the executor, and know which of them are in flight.

A trial has a lane from its first epoch until it ends; one that Tune paused, whose state was saved, gives it up when
another needs it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from regsearch.driver.tune_proxies import ProxyState
from regsearch.executors.executor import COHORTS, Executor
from regsearch.trial import Report


class Lanes:
    """The lanes of an executor.

    Args:
        proxies: of the study's trials, by number.

    Attributes:
        flying: the lanes of each cohort that is being trained, the longest in flight first.
    """

    def __init__(self, executor: Executor, proxies: Mapping[int, ProxyState]) -> None:
        self._executor, self._proxies = executor, proxies
        self._holders: list[int | None] = [None] * executor.lanes
        self.flying: dict[int, list[int]] = {}

    def dispatch(self, numbers: Collection[int]) -> None:
        """Dispatch an epoch of these trials, of those that have a lane, to every cohort that is not in flight."""
        for cohort in range(COHORTS):
            if cohort in self.flying:
                continue
            lanes = [
                lane
                for lane, number in enumerate(self._holders)
                if number in numbers and self._executor.cohort(lane) == cohort
            ]
            if lanes:
                self.flying[cohort] = lanes
                self._executor.dispatch(cohort, [], lanes, waited_for=True)

    def wait(self) -> list[tuple[int, Report]]:
        """Give what the cohort that is longest in flight reports, by lane."""
        cohort = next(iter(self.flying))
        reports = self._executor.wait(cohort)
        del self.flying[cohort]
        return reports

    def drain(self) -> None:
        """Take in what is still being trained, and forget it: it will be trained again."""
        while self.flying:
            self.wait()

    def take(self, number: int, lane: int) -> None:
        """Give a lane that is free to a trial."""
        self._proxies[number].lane, self._holders[lane] = lane, number

    def leave(self, proxy: ProxyState) -> None:
        """Take a trial's lane from it, if it has one; what is in flight of it is of no use then."""
        if proxy.lane is not None:
            self._holders[proxy.lane] = None
            proxy.lane = None

    def holds(self, number: int, lane: int) -> bool:
        """Tell whether a lane is this trial's."""
        return self._holders[lane] == number

    def free(self) -> int | None:
        """Find a free lane, else free one whose trial does not ask: first of those that go on from a saved state."""
        taken = [
            sum(self._holders[each] is not None for each in range(cohort, len(self._holders), COHORTS))
            for cohort in range(COHORTS)
        ]
        order = sorted(range(len(self._holders)), key=lambda lane: (taken[self._executor.cohort(lane)], lane))
        still = [lane for lane in order if not self.in_flight(lane)]
        for lane in still:
            if self._holders[lane] is None:
                return lane
        quiet = [(proxy, lane) for lane in still if not (proxy := self._proxies[self._holders[lane] or 0]).waits]
        quiet.sort(key=lambda each: each[0].snapshot is None or each[0].snapshot.epoch != each[0].at)
        for proxy, lane in quiet:
            self.leave(proxy)
            return lane
        return None

    def in_flight(self, lane: int | None) -> bool:
        """Tell whether a lane is being trained; None, that of a trial without one, never is."""
        return any(lane in lanes for lanes in self.flying.values())
