"""The workers of an executor: started, sent requests, and given their lanes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from regsearch.errors import UserError
from regsearch.executors.lane_table import LaneTable
from regsearch.executors.messages import (
    Answer,
    Begin,
    Calibrated,
    CohortLanes,
    Done,
    PlaceLanes,
    Request,
    RoundReports,
    SavedTrials,
    SaveTrials,
    TrainRound,
    Usage,
    WorkerSpec,
)
from regsearch.executors.worker_handle import WorkerHandle, WorkerHost, WorkerLost
from regsearch.executors.worker_start import measure, start_worker

if TYPE_CHECKING:
    from regsearch.core.pack import Saved

A = TypeVar("A", bound=Answer)


@dataclass(eq=False)
class WorkerSlot:
    """A place for a worker, and the worker that has it.

    Args:
        width: slots of its packs.
        usage: what it spent so far.
        loss: how it was lost, until another is started in its place.
        losses: how often in a row this place has lost its worker.
    """

    handle: WorkerHandle
    width: int
    usage: Usage = field(default_factory=Usage)
    loss: WorkerLost | None = None
    losses: int = 0


class WorkerPool:
    """Send requests to the workers of an executor and take in their answers.

    Args:
        host: where workers are started.
        spec: what every worker is given; `index` is filled in.
        table: the lanes that the workers have.
        most: how many workers there may be.
        say: is told in a line what a user should know of.

    Attributes:
        slots: the workers there are now, by number.
        width: slots of a pack; 1 for one trial at a time.
        compiled: whether the packs run compiled.
        serial: the operation that keeps the model from being packed, or None.
    """

    def __init__(
        self, host: WorkerHost, spec: WorkerSpec, table: LaneTable, most: int, say: Callable[[str], None]
    ) -> None:
        self.host, self.table, self.most, self.say = host, table, most, say
        self.slots: dict[int, WorkerSlot] = {}
        self.width, self.compiled = 0, False
        self.serial: str | None = None
        self._spec = spec
        self._past_usage = Usage()
        self._slowest: float | None = None

    def start(self, count: int) -> None:
        """Start so many workers, decide over width and compiling from what they measured, and have them begin.

        Raises:
            UserError: they refuse the study, or cannot compile what is to be compiled; or memory does not suffice; or
                one is lost again and again before it begins.
            Exception: what the study fails with in a worker.
        """
        for index in range(count):
            self._add(start_worker(self.host, replace(self._spec, index=index)))
        measured: list[Calibrated] = []
        for index, slot in self.slots.items():
            spec = replace(self._spec, index=index)
            slot.handle, calibrated = measure(self.host, spec, slot.handle, count, self.say)
            measured.append(calibrated)
        uncompiled = next((each.uncompiled for each in measured if each.uncompiled), None)
        if self._spec.compiled and uncompiled:
            raise UserError("the training step cannot be compiled", key="train.compile", value=True, allowed=uncompiled)
        self.width, self.compiled = max(each.width for each in measured), uncompiled is None
        self.serial = measured[0].serial
        for worker in self.slots:
            self._begin(worker)

    def add_arrivals(self) -> None:
        """Add the workers that were started on devices that have come, and have them begin."""
        spec = replace(self._spec, width=self.width, compiled=self.compiled)
        for handle in self.host.arrivals(spec, self.most - len(self.slots)):
            self._begin(self._add(handle))
            self.say(f"another pack worker has come: there are {len(self.slots)}")

    def _add(self, handle: WorkerHandle) -> int:
        worker = max(self.slots, default=-1) + 1
        self.slots[worker] = WorkerSlot(handle, self.width)
        self.table.add_worker(worker)
        return worker

    def _begin(self, worker: int) -> None:
        self.slots[worker].width = self.width
        self.ask(worker, Done, Begin(self.width, self.compiled))

    def restart(self, worker: int, lanes: CohortLanes) -> None:
        """Start another worker in a slot, with these lanes and no trials in them.

        Raises:
            NoDevice: there is nowhere to put it.
            WorkerLost: it is lost before it has its lanes.
        """
        slot = self.slots[worker]
        slot.handle.close()
        self._past_usage, slot.usage = self._past_usage + slot.usage, Usage()
        slot.handle = self.host.start(replace(self._spec, index=worker, width=slot.width, compiled=self.compiled))
        slot.handle.ready()
        self.exchange(worker, Done, Begin(slot.width, self.compiled), PlaceLanes(lanes))

    def remove(self, worker: int) -> None:
        """End a worker and give its slot up."""
        slot = self.slots.pop(worker)
        slot.handle.close()
        self._past_usage += slot.usage
        self.table.remove_worker(worker)

    def close(self) -> None:
        """End the workers."""
        self.host.close([slot.handle for slot in self.slots.values()])
        for worker in list(self.slots):
            self.remove(worker)

    # --- requests and answers -----------------------------------------------------------------------------------------

    def train(self, cohort: int, lanes: tuple[int, ...], waited_for: bool = False) -> None:
        """Send an epoch of these lanes to the workers that have them."""
        for worker, due in self.table.new_rounds(cohort, lanes):
            self.slots[worker].handle.send(TrainRound(due.lanes, self.table.take_loads(due.lanes), waited_for))

    def take_in(self, worker: int) -> bool:
        """Take in the oldest round that a worker owes; return False if the worker is lost."""
        slot, start = self.slots[worker], time.perf_counter()
        answer = self._receive(slot, RoundReports)
        if answer is None:
            return False
        self.table.report(worker, answer.reports)
        slot.losses = 0
        self._slowest = max(self._slowest or 0.0, time.perf_counter() - start)
        return True

    def ask(self, worker: int, kind: type[A], request: Request) -> A | None:
        """Return a worker's answer of this kind to a request other than a round; None if the worker is lost."""
        while self.table.owes(worker) and self.take_in(worker):
            pass
        slot = self.slots[worker]
        if slot.loss is None:
            slot.handle.send(request)
        return self._receive(slot, kind)

    def exchange(self, worker: int, kind: type[A], *requests: Request) -> A:
        """Return the answer of this kind to the last of some requests, the others answered by `Done`.

        Raises:
            WorkerLost: the worker is gone.
        """
        slot = self.slots[worker]
        for request in requests:
            slot.handle.send(request)
        for _ in requests[:-1]:
            self._next(slot, Done)
        return self._next(slot, kind)

    def _receive(self, slot: WorkerSlot, kind: type[A]) -> A | None:
        if slot.loss is not None:  # why it was lost must not be forgotten for what its silence looks like
            return None
        try:
            return self._next(slot, kind)
        except WorkerLost as lost:
            slot.loss = lost
            return None

    def _next(self, slot: WorkerSlot, kind: type[A]) -> A:
        reply = slot.handle.receive(self.answer_within())
        slot.usage = reply.usage
        assert isinstance(reply.answer, kind), f"{kind.__name__} was asked for, not {reply.answer}"
        return reply.answer

    def answer_within(self) -> float | None:
        """Return the seconds after which a worker without an answer is taken for gone; None before the first round."""
        return None if self._slowest is None else 60.0 + 20.0 * self._slowest

    def usage(self) -> Usage:
        """Sum what the workers spent by their last replies, those that are gone included."""
        return sum((slot.usage for slot in self.slots.values()), self._past_usage)

    # --- lanes --------------------------------------------------------------------------------------------------------

    def place(self, worker: int, saved: Mapping[int, Saved] | None = None) -> None:
        """Tell a worker which lanes it has, and hand it the trials that come with them."""
        self.ask(worker, Done, PlaceLanes(self.table.lanes_of(worker), saved or {}))

    def rebalance(self, cohort: int) -> None:
        """Share the lanes of a cohort, of which nothing is under way, out to the workers.

        Trials that move go on where they were, to the bit; those of a worker that is lost meanwhile begin anew.
        """
        after = self.table.balanced(cohort)
        before = {worker: self.table.lanes_of(worker).get(cohort, ()) for worker in after}
        saved: dict[int, Saved] = {}
        for worker, lanes in before.items():
            leaving = tuple(lane for lane in lanes if lane not in after[worker] and self.table.loaded(lane))
            if leaving and (answer := self.ask(worker, SavedTrials, SaveTrials(leaving))) is not None:
                saved |= answer.trials
        for worker, lanes in after.items():
            taken = [lane for lane in lanes if lane not in before[worker]]
            self.table.unload(lane for lane in taken if lane not in saved)
            if lanes != before[worker]:
                self.table.assign(worker, cohort, lanes)
                self.place(worker, {lane: saved[lane] for lane in taken if lane in saved})
