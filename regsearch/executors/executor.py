"""What the driver sees of an executor, wherever its packs are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from regsearch.executors.assignments import Held, Order
from regsearch.executors.worker_pool import COHORTS, Crew
from regsearch.trial import Report

if TYPE_CHECKING:
    from regsearch.core.pack import Saved, Start

__all__ = ["COHORTS", "Executor"]


class Executor(Crew):
    """Trains lanes on workers.

    Args:
        spec: what every worker is given; `index` and `most` are filled in.
        lanes: how many trials are in flight at most.
        workers: how many there are at first.
        say: is told in a line what a user should know of.

    Attributes:
        width: slots of a pack; 1 for one trial at a time.
        compiled: whether the packs run compiled.
        serial: the operation that keeps the model from being packed, or None.
    """

    def dispatch(
        self, cohort: int, loads: list[tuple[int, Start, int]], lanes: list[int], waited_for: bool = False
    ) -> None:
        """Have `lanes` of a cohort train one epoch, after loading (lane, what it begins with, epoch that it is at).

        Args:
            waited_for: a worker that stood idle until now waited for this order; else there was too little to train.
        """
        for lane, start, epoch in loads:
            self.hold(lane, start, epoch)
        order = Order(cohort, list(lanes))
        self._orders.append(order)
        self._tell([order], waited_for)

    def hold(self, lane: int, start: Start, epoch: int) -> None:
        """Have a lane, of which nothing is under way, hold a trial as it is after `epoch` epochs."""
        self._held[lane] = Held(start, epoch)
        self._stale.add(lane)

    def wait(self, cohort: int) -> list[tuple[int, Report]]:
        """The (lane, report) of the cohort's last dispatch. Cohorts are waited for in the order of dispatch."""
        while owing := [order.index for order in self._orders if order.cohort == cohort and order.reports is None]:
            for index in owing:
                assert index is not None, "whoever mends gives every round to somebody"
                self._take_in(index)
                if self._crew[index].lost is not None:
                    break
            self._mend()
        found = [report for order in self._orders if order.cohort == cohort for report in order.reports or ()]
        self._orders = [order for order in self._orders if order.cohort != cohort]
        for lane, report in found:
            if lane in self._held:
                self._held[lane].epoch = report.epoch
        self._grow()
        if cohort in self._uneven:
            self._uneven.discard(cohort)
            self._share_out(cohort)
            self._mend()
        return found

    def weights(self, lane: int) -> dict[str, Any]:
        """The weights of the trial in `lane`, which did not fail and of which nothing is under way."""
        found: dict[str, Any] = self._of(lane, "weights")
        return found

    def state(self, lane: int) -> Saved:
        """The trial in `lane` as it stands, which did not fail and of which nothing is under way."""
        found: Saved = self._of(lane, "state")
        return found

    def _of(self, lane: int, order: str) -> Any:
        while True:
            index = next(i for i, post in self._crew.items() if lane in post.lanes.get(self.cohort(lane), ()))
            found = self._ask(index, order, self._loads([lane]), lane)
            if found is not None:
                return found
            self._mend()

    def settle(self) -> dict[str, float]:
        """`spent` up to this moment, what the workers did and waited since their last answer included."""
        for index in self._crew:
            self._ask(index, "settle")
        self._mend()
        return self.spent()

    def spent(self) -> dict[str, float]:
        """CPU seconds in packs and in all, seconds waited for orders, seconds idle for want of trials, and trial-steps
        trained, over all workers so far.
        """
        names = ("pack", "cpu", "waited", "idle", "steps")
        return {name: sum(each.get(name, 0.0) for each in self._spent.values()) for name in names}
