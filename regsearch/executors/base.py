"""What every executor does: share lanes out among workers, hand rounds to them, and lose no trial with a worker.

A lane is a place for one trial in flight. Lanes belong to two cohorts that take turns: while the driver decides over
one cohort's reports, the workers train the other. Which worker, pack or slot a lane is in never changes an answer;
so the trials of a worker that is gone are trained again, from their seeds, by another.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from regsearch.errors import UserError
from regsearch.executors.worker import Found, WorkerSpec
from regsearch.trial import Report

if TYPE_CHECKING:
    from regsearch.core.pack import Load

COHORTS = 2
_PATIENCE = 3
"""How often in a row a worker may be lost over the same round before its trials are tried one by one."""
_STARTS = 5
"""How often in a row a worker may be lost before it begins."""


class Lost(Exception):
    """A worker is gone.

    Args:
        why: in words that stand behind "the worker".
        memory: whether memory ran out.
        error: what it failed with, if it could say.
    """

    def __init__(self, why: str, *, memory: bool = False, error: Exception | None = None) -> None:
        super().__init__(why)
        self.why, self.memory, self.error = why, memory, error


class Member(Protocol):
    """A worker as the executor sees it. Answers come in the order of the orders."""

    def ready(self) -> Found:
        """Wait until it has found out what was to be found out.

        Raises:
            UserError: it refuses the study.
            Lost: it is gone.
        """
        ...

    def settle_on(self, width: int, compiled: bool) -> None:
        """Let it begin."""
        ...

    def send(self, waited_for: bool, order: str, *given: Any) -> None:
        """Hand it an order; that it is gone is said by `receive`."""
        ...

    def receive(self, seconds: float | None = None) -> tuple[str, Any, dict[str, float]]:
        """The answer to the oldest order without one, see `Worker.obey`.

        Raises:
            Lost: it is gone, or gave no answer within this time and was ended.
        """
        ...

    def close(self) -> None:
        """End it."""
        ...


@dataclass
class _Held:
    """What a lane holds: a trial, and the epochs of it that were reported."""

    load: Load
    epoch: int


class Executor(ABC):
    """Trains lanes on workers.

    Args:
        spec: what every worker is given; `index` and `most` are filled in.
        lanes: how many trials are in flight at most.
        workers: how many there are.
        say: is told in a line what a user should know of.

    Attributes:
        width: slots of a pack; 1 for one trial at a time.
        compiled: whether the packs run compiled.
        serial: the operation that keeps the model from being packed, or None.
    """

    def __init__(
        self, spec: WorkerSpec, lanes: int, workers: int, say: Callable[[str], None] = lambda line: None
    ) -> None:
        self.lanes, self.workers, self.say = lanes, workers, say
        self._held: dict[int, _Held] = {}
        self._stale: set[int] = set()
        self._due: dict[int, dict[int, list[int]]] = {}
        self._told: dict[tuple[int, int], list[tuple[int, Report]]] = {}
        self._spent: dict[Member, dict[str, float]] = {}
        self._losses = dict.fromkeys(range(workers), 0)
        self._slowest: float | None = None
        self._crew: list[Member] = []
        wanted = spec.compiled
        most = max(len(part) for index in range(workers) for part in self._lanes_of(index).values())
        self._spec = replace(spec, most=most)
        try:
            for index in range(workers):
                self._crew.append(self.hire(replace(self._spec, index=index)))
            found = [member.ready() for member in self._crew]
        except Lost as lost:
            self.close()
            raise lost.error or RuntimeError(f"a pack worker {lost.why} before it began") from None
        except BaseException:
            self.close()
            raise
        why = next((each.uncompiled for each in found if each.uncompiled), None)
        if wanted and why:
            self.close()
            raise UserError("the training step cannot be compiled", key="train.compile", value=True, allowed=why)
        self.width, self.compiled = max(each.width for each in found), why is None
        self.serial = found[0].serial
        self._widths = dict.fromkeys(range(workers), self.width)
        for index, member in enumerate(self._crew):
            member.settle_on(self.width, self.compiled)
            self._place(member, self._lanes_of(index))

    @abstractmethod
    def hire(self, spec: WorkerSpec) -> Member:
        """Start a worker; it is not waited for."""

    def cohort(self, lane: int) -> int:
        return lane % COHORTS

    def _worker(self, lane: int) -> int:
        return (lane // COHORTS) % self.workers

    def _lanes_of(self, index: int) -> dict[int, tuple[int, ...]]:
        """The lanes of a worker by cohort."""
        mine = [lane for lane in range(self.lanes) if self._worker(lane) == index]
        by_cohort = {c: tuple(lane for lane in mine if self.cohort(lane) == c) for c in range(COHORTS)}
        return {c: part for c, part in by_cohort.items() if part}

    def _place(self, member: Member, lanes: dict[int, tuple[int, ...]]) -> None:
        member.send(False, "place", lanes)
        self._answer(member)

    def dispatch(
        self, cohort: int, loads: list[tuple[int, Load, int]], lanes: list[int], waited_for: bool = False
    ) -> None:
        """Have `lanes` of a cohort train one epoch, after loading (lane, trial, epoch that it is at).

        Args:
            waited_for: a worker that stood idle until now waited for this order; else there was too little to train.
        """
        for lane, load, epoch in loads:
            self._held[lane] = _Held(load, epoch)
            self._stale.add(lane)
        self._due[cohort] = {}
        for index in sorted({self._worker(lane) for lane in lanes}):
            mine = [lane for lane in lanes if self._worker(lane) == index]
            self._due[cohort][index] = mine
            self._order(index, mine, waited_for)

    def _order(self, index: int, lanes: list[int], waited_for: bool = False) -> None:
        self._crew[index].send(waited_for, "round", self._loads(lanes), lanes)

    def _loads(self, lanes: list[int]) -> list[tuple[int, Load, int]]:
        """What has to be loaded into these lanes first."""
        fresh = [lane for lane in lanes if lane in self._stale]
        self._stale.difference_update(fresh)
        return [(lane, self._held[lane].load, self._held[lane].epoch) for lane in fresh]

    def wait(self, cohort: int) -> list[tuple[int, Report]]:
        """The (lane, report) of the cohort's last dispatch. Cohorts are waited for in the order of dispatch."""
        found: list[tuple[int, Report]] = []
        for index, lanes in self._due[cohort].items():
            while (cohort, index) not in self._told:
                try:
                    self._told[cohort, index] = self._round(self._crew[index])
                    self._losses[index] = 0
                except Lost as lost:
                    self._go_on_without(index, lost)
            reports = self._told.pop((cohort, index))
            self._due[cohort][index] = []
            for lane, report in reports:
                if lane in self._held:
                    self._held[lane].epoch = report.epoch
            assert [lane for lane, _ in reports] == sorted(lanes), "every lane reports once"
            found += reports
        del self._due[cohort]
        return found

    def _round(self, member: Member) -> list[tuple[int, Report]]:
        start = time.perf_counter()
        reports: list[tuple[int, Report]] = self._answer(member, self._lease())
        self._slowest = max(self._slowest or 0.0, time.perf_counter() - start)
        return reports

    def _lease(self) -> float | None:
        """Seconds after which a worker without an answer is taken for gone; as yet unknown before the first round."""
        return None if self._slowest is None else 60.0 + 20.0 * self._slowest

    def _answer(self, member: Member, seconds: float | None = None) -> Any:
        _, answer, self._spent[member] = member.receive(seconds)
        return answer

    def _go_on_without(self, index: int, lost: Lost) -> None:
        """Put another worker in the place of one that is gone, and give it the rounds that are due again.

        Raises:
            UserError, RuntimeError: every trial fails alike, so it is none of them.
        """
        self._losses[index] += 1
        if lost.memory and self._widths[index] > COHORTS:
            self._widths[index] = max(2, self._widths[index] // 2)
            self.width = min(self.width, self._widths[index])
            self.say(f"a pack worker {lost.why}: its packs go on with {self._widths[index]} slots")
        elif self._losses[index] >= _PATIENCE or lost.error is not None:
            self._try_one_by_one(index, lost)
            return
        else:
            self.say(f"a pack worker {lost.why}: another one trains its trials again")
        self._replace(index, self._lanes_of(index))
        self._all_stale(index)
        for cohort, due in self._due.items():
            if due.get(index) and (cohort, index) not in self._told:
                self._order(index, due[index])

    def _all_stale(self, index: int) -> None:
        self._stale |= {lane for part in self._lanes_of(index).values() for lane in part if lane in self._held}

    def _replace(self, index: int, lanes: dict[int, tuple[int, ...]]) -> None:
        """Put another worker in the place of one, with these lanes."""
        spec = replace(self._spec, index=index, width=self._widths[index], compiled=self.compiled)
        for start in range(1, _STARTS + 1):
            self._crew[index].close()
            self._crew[index] = self.hire(spec)
            try:
                self._crew[index].ready()
                self._crew[index].settle_on(self._widths[index], self.compiled)
                return self._place(self._crew[index], lanes)
            except Lost as lost:
                if start == _STARTS:
                    raise RuntimeError(f"a pack worker {lost.why} before it began") from lost.error

    def _try_one_by_one(self, index: int, lost: Lost) -> None:
        """Do the rounds that are due with one trial in the worker at a time; those that end it are reported failed."""
        tried, failed, there = 0, 0, False
        for cohort, due in self._due.items():
            if not due.get(index) or (cohort, index) in self._told:
                continue
            reports = []
            for lane in sorted(due[index]):
                held, tried = self._held[lane], tried + 1
                try:
                    place: dict[int, tuple[int, ...]] = {cohort: (lane,)}
                    self._place(self._crew[index], place) if there else self._replace(index, place)
                    there = True
                    self._crew[index].send(False, "round", [(lane, held.load, held.epoch)], [lane])
                    reports += self._round(self._crew[index])
                except Lost as own:
                    failed, there = failed + 1, False
                    reason = f"failed in epoch {held.epoch + 1}: {own.why}"
                    reports.append((lane, Report(held.load.number, held.epoch + 1, {}, reason)))
                    del self._held[lane]
            self._told[cohort, index] = reports
        if failed == tried and failed != 1:
            self.close()
            raise lost.error or RuntimeError(f"a pack worker {lost.why}, whatever it trains")
        self._losses[index] = 0
        self._replace(index, self._lanes_of(index))
        self._all_stale(index)

    def weights(self, lane: int) -> dict[str, Any]:
        """The weights of the trial in `lane`, which did not fail; nothing may be under way."""
        index = self._worker(lane)
        while True:
            self._crew[index].send(False, "weights", self._loads([lane]), lane)
            try:
                found: dict[str, Any] = self._answer(self._crew[index])
                self._losses[index] = 0
                return found
            except Lost as lost:
                self._go_on_without(index, lost)

    def settle(self) -> dict[str, float]:
        """`spent` up to this moment, what the workers did and waited since their last answer included."""
        for member in self._crew:
            member.send(False, "settle")
        for index, member in enumerate(self._crew):
            try:
                self._answer(member)
            except Lost as lost:
                self._go_on_without(index, lost)
        return self.spent()

    def spent(self) -> dict[str, float]:
        """CPU seconds in packs and in all, seconds waited for orders, seconds idle for want of trials, and trial-steps
        trained, over all workers so far.
        """
        names = ("pack", "cpu", "waited", "idle", "steps")
        return {name: sum(each.get(name, 0.0) for each in self._spent.values()) for name in names}

    def close(self) -> None:
        """End the workers."""
        for member in self._crew:
            member.close()
        self._crew = []
