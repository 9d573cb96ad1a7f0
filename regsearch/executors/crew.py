"""The workers of an executor: which lanes each has, what it owes, and who goes on when one is lost.

A lane is a place for one trial in flight. Lanes belong to two cohorts that take turns: while the driver decides over
one cohort's reports, the workers train the other. Which worker, pack or slot a lane is in never changes an answer;
so the trials of a worker that is gone are trained again, from their seeds, by another.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from regsearch.errors import UserError
from regsearch.executors.member import Lost, Member, NoPlace
from regsearch.executors.worker import WorkerSpec
from regsearch.trial import Report

if TYPE_CHECKING:
    from regsearch.core.pack import Load

COHORTS = 2
_PATIENCE = 3
"""How often in a row a worker may be lost over the same round before its trials are tried one by one."""
_STARTS = 5
"""How often in a row a worker may be lost before it begins."""
_WITHOUT_PLACE = 600.0
"""Seconds to wait for a device where the last one is gone."""


@dataclass
class Held:
    """What a lane holds: a trial, and the epochs of it that were reported."""

    load: Load
    epoch: int


@dataclass(eq=False)
class Order:
    """A round that a worker was told to train, and its reports once they are in."""

    cohort: int
    index: int
    lanes: list[int]
    reports: list[tuple[int, Report]] | None = None


@dataclass(eq=False)
class Post:
    """A worker's place in the crew: who holds it, with which lanes by cohort, and packs of which width."""

    member: Member
    width: int = 0
    lanes: dict[int, tuple[int, ...]] = field(default_factory=dict)
    losses: int = 0


class Crew(ABC):
    """Workers that train the lanes of a study; see `regsearch.executors.base.Executor`."""

    def __init__(
        self, spec: WorkerSpec, lanes: int, workers: int, say: Callable[[str], None] = lambda line: None
    ) -> None:
        self.lanes, self.say = lanes, say
        self._spec = replace(spec, most=-(-lanes // (COHORTS * workers)))
        self._held: dict[int, Held] = {}
        self._stale: set[int] = set()
        self._orders: list[Order] = []
        self._spent: dict[Member, dict[str, float]] = {}
        self._slowest: float | None = None
        self._uneven: set[int] = set()
        self._crew: dict[int, Post] = {}
        try:
            for index in range(workers):
                self._crew[index] = Post(self.hire(replace(self._spec, index=index)))
            found = [post.member.ready() for post in self._crew.values()]
            why = next((each.uncompiled for each in found if each.uncompiled), None)
            if spec.compiled and why:
                raise UserError("the training step cannot be compiled", key="train.compile", value=True, allowed=why)
        except Lost as lost:
            self.close()
            raise lost.error or RuntimeError(f"a pack worker {lost.why} before it began") from None
        except BaseException:
            self.close()
            raise
        self.width, self.compiled = max(each.width for each in found), why is None
        self.serial = found[0].serial
        for post in self._crew.values():
            self._settle(post)
        for cohort in range(COHORTS):
            self._share_out(cohort)

    @abstractmethod
    def hire(self, spec: WorkerSpec) -> Member:
        """Start a worker; it is not waited for.

        Raises:
            NoPlace: there is nowhere to put it.
        """

    def newcomers(self) -> list[Member]:
        """Workers that were started meanwhile on devices that have come, and are ready to begin."""
        return []

    @property
    def workers(self) -> int:
        """How many there are now."""
        return len(self._crew)

    def cohort(self, lane: int) -> int:
        return lane % COHORTS

    # --- what they owe --------------------------------------------------------------------------------------------

    def _send(self, order: Order, waited_for: bool = False) -> None:
        self._crew[order.index].member.send(waited_for, "round", self._loads(order.lanes), order.lanes)

    def _loads(self, lanes: list[int]) -> list[tuple[int, Load, int]]:
        """What has to be loaded into these lanes first."""
        fresh = [lane for lane in lanes if lane in self._stale]
        self._stale.difference_update(fresh)
        return [(lane, self._held[lane].load, self._held[lane].epoch) for lane in fresh]

    def _take_in(self, index: int) -> None:
        """Take in the oldest round that a worker owes."""
        order, start = self._owed(index)[0], time.perf_counter()
        try:
            order.reports = self._answer(index)
        except Lost as lost:
            self._go_on_without(index, lost)
        else:
            self._slowest = max(self._slowest or 0.0, time.perf_counter() - start)
            self._crew[index].losses = 0

    def _owed(self, index: int) -> list[Order]:
        return [order for order in self._orders if order.index == index and order.reports is None]

    def _answer(self, index: int) -> Any:
        member = self._crew[index].member
        _, answer, self._spent[member] = member.receive(self._lease())
        return answer

    def _lease(self) -> float | None:
        """Seconds after which a worker without an answer is taken for gone; as yet unknown before the first round."""
        return None if self._slowest is None else 60.0 + 20.0 * self._slowest

    def close(self) -> None:
        """End the workers."""
        for post in self._crew.values():
            post.member.close()
        self._crew = {}

    # --- who has which lanes --------------------------------------------------------------------------------------

    def _settle(self, post: Post) -> None:
        post.width = post.width or self.width
        post.member.settle_on(post.width, self.compiled)

    def _grow(self, cohort: int) -> None:
        """Let newcomers begin, and give them lanes of a cohort of which nothing is under way."""
        for member in self.newcomers():
            index = max(self._crew, default=-1) + 1
            self._crew[index] = Post(member)
            self._settle(self._crew[index])
            self._uneven = set(range(COHORTS))
            self.say(f"another pack worker has come: there are {self.workers}")
        if cohort in self._uneven:
            self._uneven.discard(cohort)
            self._share_out(cohort)

    def _share_out(self, cohort: int) -> None:
        """Give every lane of a cohort, of which nothing is under way, a worker, all about as many; few lanes move.

        Trials that move go on where they were, to the bit.
        """
        wanted = [lane for lane in range(self.lanes) if self.cohort(lane) == cohort]
        fewest, more = divmod(len(wanted), len(self._crew))
        have = {index: post.lanes.get(cohort, ()) for index, post in self._crew.items()}
        busiest = sorted(have, key=lambda index: (-len(have[index]), index))
        keeps = {index: have[index][: fewest + (place < more)] for place, index in enumerate(busiest)}
        moving = [lane for lane in wanted if not any(lane in lanes for lanes in keeps.values())]
        saved: dict[int, Any] = {}
        for index in have:
            leaving = [lane for lane in moving if lane in have[index] and lane in self._held]
            saved |= self._save(index, [lane for lane in leaving if lane not in self._stale])
        for place, index in enumerate(busiest):
            taken = [moving.pop(0) for _ in range(fewest + (place < more) - len(keeps[index]))]
            lanes = tuple(sorted((*keeps[index], *taken)))
            if lanes != have[index]:
                mine = {lane: saved[lane] for lane in taken if lane in saved}
                self._place(index, {**self._crew[index].lanes, cohort: lanes}, mine)

    def _save(self, index: int, lanes: list[int]) -> dict[int, Any]:
        """The trials in these lanes as their worker holds them; nothing, and they are trained again, if it is gone."""
        if lanes:
            self._finish_rounds(index)
            self._crew[index].member.send(False, "save", lanes)
            try:
                found: dict[int, Any] = self._answer(index)
                return found
            except Lost:  # which is mended when a round is asked of it
                self._stale.update(lanes)
        return {}

    def _place(self, index: int, lanes: dict[int, tuple[int, ...]], saved: dict[int, Any] | None = None) -> None:
        """Give a worker these lanes, and the trials that come with them."""
        self._finish_rounds(index)
        post = self._crew[index]
        post.lanes = lanes
        post.member.send(False, "place", lanes, saved or {})
        try:
            self._answer(index)
        except Lost:  # as above
            self._stale.update(saved or {})

    def _finish_rounds(self, index: int) -> None:
        """Take in what a worker owes, so that its next answer is that to its next order."""
        while self._owed(index):
            self._take_in(index)

    # --- workers that are lost ------------------------------------------------------------------------------------

    def _go_on_without(self, index: int, lost: Lost) -> None:
        """Put another worker in the place of one that is gone, or share its lanes out, and have its rounds trained.

        Raises:
            UserError, RuntimeError: every trial fails alike, so it is none of them.
        """
        post = self._crew[index]
        post.losses += 1
        narrower = lost.memory and post.width > COHORTS
        try:
            if narrower:
                post.width = max(2, post.width // 2)
                self.width = min(self.width, post.width)
                self.say(f"a pack worker {lost.why}: its packs go on with {post.width} slots")
            elif post.losses >= _PATIENCE or lost.error is not None:
                return self._try_one_by_one(index, lost)
            else:
                self.say(f"a pack worker {lost.why}: another one trains its trials again")
            self._replace(index, post.lanes)
        except NoPlace:
            return self._dissolve(index)
        for order in self._owed(index):
            self._send(order)

    def _replace(self, index: int, lanes: dict[int, tuple[int, ...]]) -> None:
        """Put another worker in the place of one, with these lanes."""
        post = self._crew[index]
        self._stale |= {lane for part in post.lanes.values() for lane in part if lane in self._held}
        spec = replace(self._spec, index=index, width=post.width, compiled=self.compiled)
        for start in range(1, _STARTS + 1):
            post.member.close()
            post.member = self.hire(spec)
            try:
                post.member.ready()
                self._settle(post)
                post.member.send(False, "place", lanes, {})
                return self._answer(index)  # type: ignore[no-any-return]
            except Lost as lost:
                if start == _STARTS:
                    raise RuntimeError(f"a pack worker {lost.why} before it began") from lost.error

    def _dissolve(self, index: int) -> None:
        """Share out the lanes of a worker that has no successor, and have its rounds trained by the others."""
        owed, gone = self._owed(index), self._crew.pop(index)
        gone.member.close()
        self._stale |= {lane for part in gone.lanes.values() for lane in part if lane in self._held}
        self._orders = [order for order in self._orders if order not in owed]
        if not self._crew:
            self._await_newcomers()
        for cohort, lanes in gone.lanes.items():
            for lane in lanes:
                heir = min(self._crew, key=lambda i: (len(self._crew[i].lanes.get(cohort, ())), i))
                part = self._crew[heir].lanes.get(cohort, ())
                self._place(heir, {**self._crew[heir].lanes, cohort: tuple(sorted((*part, lane)))})
        for order in owed:
            for heir, post in list(self._crew.items()):
                mine = [lane for lane in order.lanes if lane in post.lanes.get(order.cohort, ())]
                if mine:
                    self._orders.append(Order(order.cohort, heir, mine))
                    self._send(self._orders[-1])

    def _await_newcomers(self) -> None:
        self.say("there is no device left to train on: waiting for one")
        until = time.monotonic() + _WITHOUT_PLACE
        while not self._crew:
            if time.monotonic() > until:
                raise RuntimeError("no device came to train on; `regsearch study resume` goes on when there is one")
            time.sleep(0.5)
            self._grow(-1)

    def _try_one_by_one(self, index: int, lost: Lost) -> None:
        """Do what a worker owes with one trial in it at a time; those that end it are reported failed."""
        tried, failed, there = 0, 0, False
        lanes = self._crew[index].lanes
        for order in self._owed(index):
            reports = []
            for lane in sorted(order.lanes):
                held, tried = self._held[lane], tried + 1
                only: dict[int, tuple[int, ...]] = {order.cohort: (lane,)}
                try:
                    if there:
                        self._crew[index].member.send(False, "place", only, {})
                        self._answer(index)
                    else:
                        self._replace(index, only)
                    there = True
                    self._crew[index].member.send(False, "round", [(lane, held.load, held.epoch)], [lane])
                    reports += self._answer(index)
                except Lost as own:
                    failed, there = failed + 1, False
                    reason = f"failed in epoch {held.epoch + 1}: {own.why}"
                    reports.append((lane, Report(held.load.number, held.epoch + 1, {}, reason)))
                    del self._held[lane]
            order.reports = reports
        if failed == tried and failed != 1:
            self.close()
            raise lost.error or RuntimeError(f"a pack worker {lost.why}, whatever it trains")
        self._crew[index].losses = 0
        self._replace(index, lanes)
