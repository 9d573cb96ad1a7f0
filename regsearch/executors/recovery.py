"""What happens when a worker is lost: another trains its trials again, from what they began with, to the same bits."""

from __future__ import annotations

import time

from regsearch.errors import UserError
from regsearch.executors.lane_table import Round, cohort_of
from regsearch.executors.messages import CohortLanes, LaneReports, LaneTrial, PlaceLanes, RoundReports, TrainRound
from regsearch.executors.worker_handle import NoDevice, WorkerLost
from regsearch.executors.worker_pool import WorkerPool, WorkerSlot
from regsearch.executors.worker_start import STARTS, ended_again
from regsearch.trial import Report

_NARROWEST = 2
"""Slots of the narrowest pack."""
_PATIENCE = 3
"""How often in a row a worker may be lost over the same round before its trials are tried one by one."""
_NO_TRIAL = -1
"""Number of a trial that is none of the study's."""
_DEVICE_WITHIN = 600.0
"""Seconds to wait for a device where the last one is gone."""


class Recovery:
    """Replace the workers of a pool that are lost.

    Args:
        pool: its workers; what the user should know of is said through it.
    """

    def __init__(self, pool: WorkerPool) -> None:
        self._pool, self._table = pool, pool.table

    def run(self) -> None:
        """Restore the pool: no worker is lost, every lane has one, and every round is owed by some worker.

        Raises:
            UserError, RuntimeError: every trial fails alike, so it is none of them; or no device comes.
        """
        while True:
            lost = next((worker for worker, slot in self._pool.slots.items() if slot.loss is not None), None)
            if lost is not None:
                self._recover(lost)
            elif not self._pool.slots:
                self._wait_for_device()
            elif unassigned := self._table.unassigned():
                self._reassign(unassigned)
            elif unsent := self._table.take_unsent():
                for due in unsent:
                    self._pool.train(due.cohort, due.lanes)
            else:
                return

    def _reassign(self, lanes: list[int]) -> None:
        """Give lanes without a worker to those that have the fewest."""
        for lane in lanes:
            self._pool.place(self._table.assign_to_least(lane))

    def _wait_for_device(self) -> None:
        self._pool.say("there is no device left to train on: waiting for one")
        until = time.monotonic() + _DEVICE_WITHIN
        while not self._pool.slots:
            if time.monotonic() > until:
                raise RuntimeError("no device came to train on; `regsearch study resume` goes on when there is one")
            time.sleep(0.5)
            self._pool.add_arrivals()

    def _recover(self, worker: int) -> None:
        """Start another worker in the slot of one that is lost, or give the slot up; its rounds are sent again."""
        slot = self._pool.slots[worker]
        lost, slot.loss = slot.loss, None
        assert lost is not None, "only a worker that is lost is replaced"
        slot.losses += 1
        owed, lanes = self._table.release(worker), self._table.lanes_of(worker)
        try:
            if not self._halve(slot, lost):
                if slot.losses >= _PATIENCE or lost.error is not None:
                    self._start(worker, {})
                    self._train_one_by_one(worker, owed, lost)
                else:
                    self._pool.say(f"a pack worker {lost.why}: another one trains its trials again")
            self._start(worker, lanes)
        except NoDevice:
            self._pool.remove(worker)
        self._table.unload(lane for part in lanes.values() for lane in part)

    def _halve(self, slot: WorkerSlot, lost: WorkerLost) -> bool:
        """Halve the packs of a slot whose worker ran out of memory; return False if it did not, or they are narrow."""
        if not lost.memory or slot.width <= _NARROWEST:
            return False
        slot.width = max(_NARROWEST, slot.width // 2)
        self._pool.width = min(self._pool.width, slot.width)
        self._pool.say(f"a pack worker {lost.why}: its packs go on with {slot.width} slots")
        return True

    def _start(self, worker: int, lanes: CohortLanes) -> None:
        """Start another worker in a slot, with these lanes, in narrower packs where memory runs out over them.

        Raises:
            NoDevice: there is nowhere to put it.
            UserError: memory does not suffice, however narrow the packs are; or it is lost again and again before it
                has its lanes.
            Exception: what it fails with each time.
        """
        starts = 1
        while True:
            try:
                self._pool.restart(worker, lanes)
                return
            except WorkerLost as lost:
                if self._halve(self._pool.slots[worker], lost):
                    continue
                if starts == STARTS:
                    raise self._cannot_start(lost) from None
                starts += 1

    def _cannot_start(self, lost: WorkerLost) -> Exception:
        if not lost.memory:
            return lost.error or ended_again(lost)
        what = f"the trials in flight do not fit into memory, in packs of {self._pool.width} either"
        allowed = "fewer trials in flight, fewer search.workers or a smaller model"
        return UserError(what, key="search.parallel", value=self._table.lanes, allowed=allowed)

    # --- one trial at a time ------------------------------------------------------------------------------------------

    def _train_one_by_one(self, worker: int, owed: list[Round], lost: WorkerLost) -> None:
        """Train what a worker owes with one trial in it at a time; those that end it twice are reported failed.

        Raises:
            Exception: all fail alike, and so does a trial that is none of the study's: it is not for what they carry.
            NoDevice: there is none for a worker; what was not tried stays owed.
        """
        failed: list[bool] = []
        for due in owed:
            reports: LaneReports = []
            for lane in sorted(due.lanes):
                trial = self._table.trial(lane)
                try:
                    reports += self._train_alone(worker, lane, trial)
                    failed.append(False)
                except WorkerLost as own:
                    reason = f"failed in epoch {trial.epoch + 1}: {own.why}"
                    reports.append((lane, Report(trial.start.number, trial.epoch + 1, {}, reason)))
                    failed.append(True)
                    self._table.drop(lane)
            due.reports = reports
        if all(failed) and len(failed) != 1 and not self._trains_at_all(worker):
            self._pool.close()
            raise lost.error or RuntimeError(f"a pack worker {lost.why}, whatever it trains")
        self._pool.slots[worker].losses = 0

    def _trains_at_all(self, worker: int) -> bool:
        """Return whether a worker trains a trial that is none of the study's, with every rule off."""
        from regsearch.core.pack import Load

        try:
            self._train_alone(worker, 0, LaneTrial(Load(_NO_TRIAL, {}, 0), 0))
        except WorkerLost:
            return False
        return True

    def _train_alone(self, worker: int, lane: int, trial: LaneTrial) -> LaneReports:
        """Return what a trial reports when it is the only one in its worker.

        Raises:
            WorkerLost: it ended the worker, and another one again.
        """
        requests = PlaceLanes({cohort_of(lane): (lane,)}), TrainRound((lane,), {lane: trial})
        for _ in range(2):
            try:
                return self._pool.exchange(worker, RoundReports, *requests).reports
            except WorkerLost as error:
                lost = error
                self._start(worker, {})
        raise lost
