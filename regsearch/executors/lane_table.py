"""Which trial each lane holds, which worker has which lanes, and which rounds the workers owe.

A lane is a place for one trial in flight. Lanes belong to two cohorts that take turns: while the driver decides over
one cohort's reports, the workers train the other. Which worker, pack or slot a lane is in never changes an answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from regsearch.executors.messages import CohortLanes, LaneReports, LaneTrial

if TYPE_CHECKING:
    from regsearch.core.pack import Start

COHORTS = 2


def cohort_of(lane: int) -> int:
    """Return the cohort that a lane belongs to."""
    return lane % COHORTS


@dataclass(eq=False)
class Round:
    """An epoch of some lanes of a cohort, the worker that owes it, and what it reported.

    Args:
        worker: None where it has to be sent again.
        reports: None until they are in.
    """

    cohort: int
    lanes: tuple[int, ...]
    worker: int | None = None
    reports: LaneReports | None = None


class LaneTable:
    """Account for the lanes of an executor.

    Args:
        lanes: how many there are.
    """

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self._trials: dict[int, LaneTrial] = {}
        self._unloaded: set[int] = set()
        self._assigned: dict[int, dict[int, tuple[int, ...]]] = {}
        self._rounds: list[Round] = []
        self._owed: dict[int, deque[Round]] = {}

    # --- trials -------------------------------------------------------------------------------------------------------

    def hold(self, lane: int, start: Start, epoch: int) -> None:
        """Place a trial in a lane, whose worker has yet to load it."""
        self._trials[lane] = LaneTrial(start, epoch)
        self._unloaded.add(lane)

    def trial(self, lane: int) -> LaneTrial:
        """Return what a lane holds."""
        return self._trials[lane]

    def drop(self, lane: int) -> None:
        """Remove the trial that a lane holds."""
        del self._trials[lane]
        self._unloaded.discard(lane)

    def unload(self, lanes: Iterable[int]) -> None:
        """Note that the trials of these lanes are in no worker, so that they are loaded before they go on."""
        self._unloaded.update(lane for lane in lanes if lane in self._trials)

    def loaded(self, lane: int) -> bool:
        """Return whether the trial of a lane is in its worker."""
        return lane in self._trials and lane not in self._unloaded

    def take_loads(self, lanes: Iterable[int]) -> dict[int, LaneTrial]:
        """Return what has to be loaded into these lanes first; from here on it counts as loaded."""
        loads = {lane: self._trials[lane] for lane in lanes if lane in self._unloaded}
        self._unloaded.difference_update(loads)
        return loads

    # --- workers ------------------------------------------------------------------------------------------------------

    def add_worker(self, worker: int) -> None:
        """Know a worker, which has no lanes yet."""
        self._assigned[worker] = {}
        self._owed[worker] = deque()

    def remove_worker(self, worker: int) -> None:
        """Forget a worker, which owes nothing any more; its lanes are nobody's."""
        del self._assigned[worker], self._owed[worker]

    def lanes_of(self, worker: int) -> CohortLanes:
        """Return the lanes of a worker, by cohort."""
        return dict(self._assigned[worker])

    def assign(self, worker: int, cohort: int, lanes: tuple[int, ...]) -> None:
        """Give a worker these lanes of a cohort, in place of those that it had."""
        self._assigned[worker][cohort] = lanes

    def worker_of(self, lane: int) -> int:
        """Return the worker that has a lane."""
        cohort = cohort_of(lane)
        return next(worker for worker, lanes in self._assigned.items() if lane in lanes.get(cohort, ()))

    def unassigned(self) -> list[int]:
        """Return the lanes that no worker has."""
        assigned = {lane for lanes in self._assigned.values() for part in lanes.values() for lane in part}
        return [lane for lane in range(self.lanes) if lane not in assigned]

    def assign_to_least(self, lane: int) -> int:
        """Give a lane to a worker that has the fewest of its cohort; return that worker."""
        cohort = cohort_of(lane)
        worker = min(self._assigned, key=lambda each: (len(self._assigned[each].get(cohort, ())), each))
        self.assign(worker, cohort, tuple(sorted((*self._assigned[worker].get(cohort, ()), lane))))
        return worker

    def is_balanced(self, cohort: int) -> bool:
        """Return whether no worker has more lanes of a cohort than another, but for one."""
        counts = [len(lanes.get(cohort, ())) for lanes in self._assigned.values()]
        return max(counts) - min(counts) <= 1 and sum(counts) == len(range(cohort, self.lanes, COHORTS))

    def balanced(self, cohort: int) -> dict[int, tuple[int, ...]]:
        """Share the lanes of a cohort out anew: all workers get about as many, and few lanes move."""
        lanes = range(cohort, self.lanes, COHORTS)
        before = {worker: assigned.get(cohort, ()) for worker, assigned in self._assigned.items()}
        busiest = sorted(before, key=lambda worker: (-len(before[worker]), worker))
        fewest, more = divmod(len(lanes), len(busiest))
        shares = {worker: fewest + (place < more) for place, worker in enumerate(busiest)}
        staying = {worker: before[worker][: shares[worker]] for worker in busiest}
        assigned = {lane for part in staying.values() for lane in part}
        moving = iter([lane for lane in lanes if lane not in assigned])
        return {
            worker: tuple(sorted((*part, *(next(moving) for _ in range(shares[worker] - len(part))))))
            for worker, part in staying.items()
        }

    # --- rounds -------------------------------------------------------------------------------------------------------

    def new_rounds(self, cohort: int, lanes: Iterable[int]) -> Iterator[tuple[int, Round]]:
        """Split an epoch of these lanes into a round for each worker that has some of them; it owes the round then."""
        wanted = set(lanes)
        for worker, assigned in self._assigned.items():
            mine = tuple(lane for lane in assigned.get(cohort, ()) if lane in wanted)
            if mine:
                due = Round(cohort, mine, worker)
                self._rounds.append(due)
                self._owed[worker].append(due)
                yield worker, due

    def owing(self, cohort: int) -> list[int]:
        """Return the workers that owe rounds of a cohort, one entry for each round, in the order of sending."""
        due = [each for each in self._rounds if each.cohort == cohort and each.reports is None]
        assert all(each.worker is not None for each in due), "recovery sends every round to some worker"
        return [each.worker for each in due if each.worker is not None]

    def owes(self, worker: int) -> bool:
        """Return whether a worker owes a round."""
        return bool(self._owed[worker])

    def report(self, worker: int, reports: LaneReports) -> None:
        """Enter the reports of the oldest round that a worker owes."""
        self._owed[worker].popleft().reports = reports

    def collect(self, cohort: int) -> LaneReports:
        """Take out the reports of a cohort's rounds, which are all in; its trials are an epoch further."""
        reports = [pair for each in self._rounds if each.cohort == cohort for pair in each.reports or ()]
        self._rounds = [each for each in self._rounds if each.cohort != cohort]
        for lane, report in reports:
            if lane in self._trials:
                self._trials[lane] = LaneTrial(self._trials[lane].start, report.epoch)
        return reports

    def release(self, worker: int) -> list[Round]:
        """Take from a worker, and return, the rounds that it owes: they have to be sent again."""
        owed, self._owed[worker] = list(self._owed[worker]), deque()
        for each in owed:
            each.worker = None
        return owed

    def take_unsent(self) -> list[Round]:
        """Take out the rounds that have to be sent again."""
        unsent = [each for each in self._rounds if each.worker is None and each.reports is None]
        self._rounds = [each for each in self._rounds if each not in unsent]
        return unsent
