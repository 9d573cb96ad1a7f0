"""The workers of an executor: which lanes each has, what it owes, and who goes on when one is lost.

A lane is a place for one trial in flight. Lanes belong to two cohorts that take turns: while the driver decides over
one cohort's reports, the workers train the other. Which worker, pack or slot a lane is in never changes an answer;
so the trials of a worker that is gone are trained again, from their seeds, by another.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from regsearch.errors import UserError
from regsearch.executors.assignments import Held, Order, Post
from regsearch.executors.worker import WorkerSpec
from regsearch.executors.worker_handle import Lost, Member, NoPlace
from regsearch.trial import Report

if TYPE_CHECKING:
    from regsearch.core.pack import Start

COHORTS = 2
_NARROWEST = 2
"""Slots of the narrowest pack."""
_PATIENCE = 3
"""How often in a row a worker may be lost over the same round before its trials are tried one by one."""
_STARTS = 5
"""How often in a row a worker may be lost before it begins."""
_NONE = -1
"""Number of a trial that is none of the study's."""
_WITHOUT_PLACE = 600.0
"""Seconds to wait for a device where the last one is gone."""


class Crew(ABC):
    """Workers that train the lanes of a study; see `regsearch.executors.executor.Executor`."""

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

    # --- what they are told, and what they owe ------------------------------------------------------------------------

    def _tell(self, orders: list[Order], waited_for: bool = False) -> None:
        """Have rounds trained by whoever has their lanes."""
        for order in orders:
            self._orders.remove(order)
            wanted = set(order.lanes)
            for index, post in self._crew.items():
                mine = [lane for lane in post.lanes.get(order.cohort, ()) if lane in wanted]
                if mine:
                    self._orders.append(Order(order.cohort, mine, index))
                    post.member.send(waited_for, "round", self._loads(mine), mine)

    def _loads(self, lanes: list[int]) -> list[tuple[int, Start, int]]:
        """What has to be loaded into these lanes first."""
        fresh = [lane for lane in lanes if lane in self._stale]
        self._stale.difference_update(fresh)
        return [(lane, self._held[lane].start, self._held[lane].epoch) for lane in fresh]

    def _owed(self, index: int) -> list[Order]:
        return [order for order in self._orders if order.index == index and order.reports is None]

    def _take_in(self, index: int) -> None:
        """Take in the oldest round that a worker owes, if it is not lost."""
        order, start = self._owed(index)[0], time.perf_counter()
        order.reports = self._answer(index)
        if order.reports is not None:
            self._crew[index].losses = 0
            self._slowest = max(self._slowest or 0.0, time.perf_counter() - start)

    def _ask(self, index: int, order: str, *given: Any) -> Any:
        """A worker's answer to an order other than a round; None if it is lost."""
        while self._owed(index) and self._crew[index].lost is None:
            self._take_in(index)
        self._crew[index].member.send(False, order, *given)
        return self._answer(index)

    def _answer(self, index: int) -> Any:
        """The next answer of a worker; None if it is lost, which `_mend` then sees to."""
        post = self._crew[index]
        try:
            _, answer, self._spent[post.member] = post.member.receive(self._lease())
        except Lost as lost:
            post.lost = lost
            return None
        return answer

    def _lease(self) -> float | None:
        """Seconds after which a worker without an answer is taken for gone; as yet unknown before the first round."""
        return None if self._slowest is None else 60.0 + 20.0 * self._slowest

    def close(self) -> None:
        """End the workers."""
        for post in self._crew.values():
            post.member.close()
        self._crew = {}

    # --- who has which lanes ------------------------------------------------------------------------------------------

    def _settle(self, post: Post) -> None:
        post.width = post.width or self.width
        post.member.settle_on(post.width, self.compiled)

    def _grow(self) -> None:
        """Let newcomers begin."""
        for member in self.newcomers():
            index = max(self._crew, default=-1) + 1
            self._crew[index] = Post(member)
            self._settle(self._crew[index])
            self._uneven = set(range(COHORTS))
            self.say(f"another pack worker has come: there are {self.workers}")

    def _share_out(self, cohort: int) -> None:
        """Give every lane of a cohort, of which nothing is under way, a worker, all about as many; few lanes move.

        Trials that move go on where they were, to the bit.
        """
        wanted = [lane for lane in range(self.lanes) if self.cohort(lane) == cohort]
        fewest, more = divmod(len(wanted), len(self._crew))
        have = {index: post.lanes.get(cohort, ()) for index, post in self._crew.items()}
        busiest = sorted(have, key=lambda index: (-len(have[index]), index))
        keeps = {index: have[index][: fewest + (place < more)] for place, index in enumerate(busiest)}
        kept = {lane for lanes in keeps.values() for lane in lanes}
        moving = [lane for lane in wanted if lane not in kept]
        leaves = set(moving)
        saved: dict[int, Any] = {}
        for index in have:
            leaving = [
                lane for lane in have[index] if lane in leaves and lane in self._held and lane not in self._stale
            ]
            if leaving:
                saved |= self._ask(index, "save", leaving) or {}
        for place, index in enumerate(busiest):
            taken = [moving.pop(0) for _ in range(fewest + (place < more) - len(keeps[index]))]
            self._stale |= {lane for lane in taken if lane in self._held and lane not in saved}
            lanes = tuple(sorted((*keeps[index], *taken)))
            if lanes != have[index]:
                self._place(index, cohort, lanes, {lane: saved[lane] for lane in taken if lane in saved})

    def _place(self, index: int, cohort: int, lanes: tuple[int, ...], saved: dict[int, Any] | None = None) -> None:
        """Give a worker these lanes of a cohort, and the trials that come with them."""
        post = self._crew[index]
        post.lanes = {**post.lanes, cohort: lanes}
        self._ask(index, "place", post.lanes, saved or {})

    # --- workers that are lost ----------------------------------------------------------------------------------------

    def _mend(self) -> None:
        """See to it that no worker is lost, every lane has one, and every round is somebody's.

        Raises:
            UserError, RuntimeError: every trial fails alike, so it is none of them; or no device comes.
        """
        while True:
            if lost := [index for index, post in self._crew.items() if post.lost is not None]:
                self._succeed(lost[0])
            elif not self._crew:
                self._await_newcomers()
            elif homeless := self._homeless():
                self._adopt(homeless)
            elif unsent := [order for order in self._orders if order.index is None and order.reports is None]:
                self._tell(unsent)
            else:
                return

    def _homeless(self) -> list[int]:
        housed = {lane for post in self._crew.values() for part in post.lanes.values() for lane in part}
        return [lane for lane in range(self.lanes) if lane not in housed]

    def _adopt(self, lanes: list[int]) -> None:
        """Give lanes without a worker to those that have the fewest."""
        for lane in lanes:
            cohort = self.cohort(lane)
            heir = min(self._crew, key=lambda index: (len(self._crew[index].lanes.get(cohort, ())), index))
            self._place(heir, cohort, tuple(sorted((*self._crew[heir].lanes.get(cohort, ()), lane))))

    def _succeed(self, index: int) -> None:
        """Put another worker in the place of one that is lost, or give its place up; its rounds are nobody's then."""
        post = self._crew[index]
        lost, post.lost = post.lost, None
        assert lost is not None, "only of a worker that is lost"
        post.losses += 1
        owed = self._owed(index)
        try:
            if lost.memory and post.width > _NARROWEST:
                post.width = max(_NARROWEST, post.width // 2)
                self.width = min(self.width, post.width)
                self.say(f"a pack worker {lost.why}: its packs go on with {post.width} slots")
            elif post.losses >= _PATIENCE or lost.error is not None:
                self._replace(index, {})
                self._try_one_by_one(index, owed, lost)
            else:
                self.say(f"a pack worker {lost.why}: another one trains its trials again")
            self._replace(index, post.lanes)
        except NoPlace:
            post.member.close()
            del self._crew[index]
        self._stale |= {lane for part in post.lanes.values() for lane in part if lane in self._held}
        for order in owed:
            order.index = None

    def _replace(self, index: int, lanes: dict[int, tuple[int, ...]]) -> None:
        """Put another worker in a place, with these lanes."""
        post = self._crew[index]
        spec = replace(self._spec, index=index, width=post.width, compiled=self.compiled)
        for start in range(1, _STARTS + 1):
            post.member.close()
            post.member = self.hire(spec)
            try:
                post.member.ready()
                self._settle(post)
                post.member.send(False, "place", lanes, {})
                _, _, self._spent[post.member] = post.member.receive(self._lease())
                return
            except Lost as lost:
                if start == _STARTS:
                    raise RuntimeError(f"a pack worker {lost.why} before it began") from lost.error

    def _await_newcomers(self) -> None:
        self.say("there is no device left to train on: waiting for one")
        until = time.monotonic() + _WITHOUT_PLACE
        while not self._crew:
            if time.monotonic() > until:
                raise RuntimeError("no device came to train on; `regsearch study resume` goes on when there is one")
            time.sleep(0.5)
            self._grow()

    def _try_one_by_one(self, index: int, owed: list[Order], lost: Lost) -> None:
        """Do what a worker owes with one trial in it at a time; those that end it twice are reported failed.

        Raises:
            Exception: all fail alike, and so does a trial that is none of the study's: it is not for what they carry.
            NoPlace: there is none for a worker; what was not tried stays owed.
        """
        failed: list[bool] = []
        for order in owed:
            reports: list[tuple[int, Report]] = []
            for lane in sorted(order.lanes):
                held = self._held[lane]
                try:
                    reports += self._alone(index, order.cohort, lane, held)
                    failed.append(False)
                except Lost as own:
                    reason = f"failed in epoch {held.epoch + 1}: {own.why}"
                    reports.append((lane, Report(held.start.number, held.epoch + 1, {}, reason)))
                    failed.append(True)
                    del self._held[lane]
            order.reports = reports
        if all(failed) and len(failed) != 1 and not self._trains_at_all(index):
            self.close()
            raise lost.error or RuntimeError(f"a pack worker {lost.why}, whatever it trains")
        self._crew[index].losses = 0

    def _trains_at_all(self, index: int) -> bool:
        """Whether a worker trains a trial that is none of the study's, with every rule off: the others are to blame."""
        from regsearch.core.pack import Load

        try:
            self._alone(index, 0, 0, Held(Load(_NONE, {}, 0), 0))
        except Lost:
            return False
        return True

    def _alone(self, index: int, cohort: int, lane: int, held: Held) -> list[tuple[int, Report]]:
        """What a trial reports when it is the only one in its worker.

        Raises:
            Lost: it ended the worker, and another one again.
        """
        only = {cohort: (lane,)}
        for attempt in (1, 2):
            post = self._crew[index]
            try:
                post.member.send(False, "place", only, {})
                post.member.send(False, "round", [(lane, held.start, held.epoch)], [lane])
                post.member.receive(self._lease())
                _, reports, self._spent[post.member] = post.member.receive(self._lease())
                return reports  # type: ignore[no-any-return]
            except Lost:
                self._replace(index, {})
                if attempt == 2:
                    raise
        raise AssertionError("the second attempt returns or raises")
