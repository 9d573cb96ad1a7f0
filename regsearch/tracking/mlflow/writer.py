"""Deliver an outbox to MLflow, in a process of its own.

It follows the outbox while the driver appends, delivers what is new in one batch every second or two, and remembers in
the cursor file how far it came. The driver's commands may ask for a delivery at once, and for the rest and a normal
end.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regsearch.errors import UserError
from regsearch.system.addresses import scrub
from regsearch.system.garbage import settle_collector
from regsearch.system.guard import guard
from regsearch.tracking.log.commands import Commands
from regsearch.tracking.log.cursor import (
    Status,
    read_cursor,
    read_refused,
    status_path,
    write_cursor,
    write_status,
)
from regsearch.tracking.log.history import StudyHistory
from regsearch.tracking.log.outbox import read_from
from regsearch.tracking.log.records import Record, StudyStart
from regsearch.tracking.mlflow.changes import Step, merge, unended
from regsearch.tracking.mlflow.delivered import missing_runs, read_delivered
from regsearch.tracking.mlflow.failures import DiscreetFormatter, StoreLostError, one_line
from regsearch.tracking.mlflow.package import DamagedPackage
from regsearch.tracking.mlflow.steps import Refusals, StepDelivery

if TYPE_CHECKING:
    from regsearch.tracking.mlflow.delivery import ClientLane

LOOK_SECONDS = 0.25
ROUND_SECONDS = 1.5
# Deliveries take at most this share of one core while training runs, however dear the store is.
ROUND_SHARE = 0.1
BATCH_BYTES = 4 << 20
RETRY_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
CHECKS = 5
"""How often a refusal has a writer look for what the store lost; what is refused again and again is so for itself."""
EXIT_REFUSED = 2


class Writer:
    """Follows one outbox until it is told to drain."""

    def __init__(self, outbox: Path, uri: str, artifacts: Path | None, commands: Commands) -> None:
        self._outbox, self._uri, self._artifacts, self._commands = outbox, uri, artifacts, commands
        self._offset, self._not_taken = read_cursor(outbox), read_refused(outbox)
        self._history = self._delivered_history()
        # What an earlier writer delivered is looked for in the store before anything else.
        self._unchecked, self._checks_left = self._offset > 0, CHECKS
        self._study: Any = None
        self._lane: Any = None
        self._delivery: StepDelivery
        self._refusals = Refusals()
        self._failures = 0
        # The batch that is being delivered: what is left of it, where it ends, and its records.
        self._steps: list[Step] = []
        self._until = self._records = 0
        self._unsure = self._troubled = False
        self.status = Status(pid=os.getpid(), offset=self._offset)
        self.say("starting")

    def run(self) -> None:
        """Deliver until drained."""
        next_round = 0.0
        while True:
            self._commands.woken.clear()
            draining = self._commands.draining
            urgent = draining or self._commands.flushing
            if _size(self._outbox) > self._offset or self._unchecked:
                if urgent or time.monotonic() >= next_round:
                    spent = self.status.cpu.get("delivery", 0.0)
                    self._round()
                    spent = self.status.cpu.get("delivery", 0.0) - spent
                    next_round = time.monotonic() + max(ROUND_SECONDS, spent / ROUND_SHARE)
                    continue
            else:
                self._commands.flushing = self._commands.flushing and self._commands.woken.is_set()
                if draining and self._settled():
                    return
            self._commands.woken.wait(LOOK_SECONDS)

    def _settled(self) -> bool:
        """Look once more for runs that the store made late, of requests whose answer nobody waited for."""
        if self._troubled and self._study is not None:
            try:
                self._study.reconcile()
            except Exception as error:
                self.say("retrying", scrub(one_line(error), self._uri))
                time.sleep(RETRY_SECONDS[0])
                return False
            self._troubled = False
        return self._study is None or self._in_place()

    def _in_place(self) -> bool:
        """Whether the store has the experiment still; where it was deleted meanwhile, all is looked at again."""
        try:
            if self._study.in_place():
                return True
        except Exception:
            logging.warning("the store cannot be asked for the experiment", exc_info=True)
            return True  # everything is delivered, and the next writer asks again
        self._reopen()
        return False

    def say(self, state: str, error: str = "") -> None:
        """Write the status of the writer."""
        self.status.state, self.status.error, self.status.offset = state, error, self._offset
        self.status.cpu["total"] = time.process_time()
        write_status(status_path(self._outbox), self.status)

    def _round(self) -> None:
        """Deliver the next batch, or go on with one that was cut off; or say why not and wait a little."""
        left = self._left()
        try:
            self._open()
            self._reconcile()
            if not self._steps and not self._take():
                self._commands.woken.wait(LOOK_SECONDS)
                return
            while self._steps:
                self._delivery.deliver(self._steps[0])
                del self._steps[0]
            self._not_taken |= self._refusals.refused
            write_cursor(self._outbox, self._until, self._not_taken)
        except StoreLostError:
            self._reopen()
            return
        except UserError:
            raise
        except Exception as error:
            if isinstance(error, DamagedPackage) and self._commands.draining:
                raise UserError(str(error)) from error  # waiting would not mend it; `resume` packages it again
            self._failures = 1 if self._left() < left else self._failures + 1
            self._unsure = self._troubled = True
            self.say("retrying", scrub(one_line(error), self._uri))
            logging.warning("delivery failed, to be tried again", exc_info=self._failures < 3)
            time.sleep(RETRY_SECONDS[min(self._failures, len(RETRY_SECONDS)) - 1])
            return
        self._failures = 0
        self._offset = self._until
        self.status.records += self._records
        self.status.rounds += 1
        self.say("waiting")

    def _delivered_history(self) -> StudyHistory:
        """What was delivered of the runs that have not ended."""
        records = read_from(self._outbox, limit=self._offset) if self._offset else ()
        return unended(record for record, _ in records)

    def _take(self) -> bool:
        """Read the next batch from the outbox; False where there is nothing new."""
        records: list[Record] = []
        try:
            for record, until in read_from(self._outbox, self._offset, BATCH_BYTES):
                records.append(record)
                self._until = until
        except ValueError as error:
            raise UserError(str(error)) from error
        self._steps, self._records = merge(records, self._history), len(records)
        return bool(records)

    def _left(self) -> int:
        """How much of the batch is to be delivered: a store that loses answers now and then takes it bit by bit."""
        return sum(len(step) if isinstance(step, list) else 1 for step in self._steps)

    def _open(self) -> None:
        if self._study is not None:
            return
        first, _ = next(read_from(self._outbox))
        if not isinstance(first, StudyStart):
            raise UserError("the outbox does not begin with a study", file=self._outbox, allowed="the study's own file")
        with self.status.clock("import"):
            from regsearch.tracking.mlflow import delivery, delivery_sqlite
            from regsearch.tracking.mlflow.store import ensure_store
        with self.status.clock("store"):
            moved = ensure_store(self._uri)
            study = delivery.ClientLane(self._uri, first, self._artifacts)
            self.status.notices += filter(None, (moved, study.moved))
            self._check(study)
            fits = delivery_sqlite.fits(self._uri)
            self._study, self._lane = study, delivery_sqlite.BulkLane(study) if fits else study
            self._delivery = StepDelivery(
                self._outbox, self._study, self._lane, self.status, self._refusals, self._suspect
            )
        self.status.lane = self._lane.name
        self.say("delivering")

    def _check(self, study: ClientLane) -> None:
        """Hold the store against the cursor: where it lost something, the whole outbox is delivered again."""
        lines = [study.mended] if study.mended else []
        if self._unchecked:
            given = read_delivered(self._outbox, self._offset, self._not_taken)
            mended, again = study.mend(given)
            lines += mended
            if again:
                self._offset, self._steps, self._records = 0, [], 0
                self._history = self._delivered_history()
                self._not_taken, self._refusals = set(), Refusals()
                write_cursor(self._outbox, 0)
        self._unchecked = False
        if lines:
            self.status.notices.append(f"of this study the MLflow store had lost something: {'; '.join(lines)}")

    def _reopen(self) -> None:
        """Look at the store anew before the next delivery, as a new writer would."""
        if self._lane is not self._study:
            self._lane.close()
        self._study = self._lane = None
        self._steps, self._unchecked, self._unsure = [], True, False
        self._history = self._delivered_history()

    def _suspect(self, error: Exception) -> None:
        """Before content is blamed for an error: see whether the store lost what it was given.

        Raises:
            StoreLostError: it did.
        """
        if not self._checks_left:
            return
        self._checks_left -= 1
        if not self._study.in_place():
            raise StoreLostError from error
        self._study.reconcile()
        if missing_runs(read_delivered(self._outbox, self._offset, self._not_taken), self._study.held):
            raise StoreLostError from error

    def _reconcile(self) -> None:
        """After a failure ask the store what it has, before anything is made: an answer that was lost may have been
        that of a run's creation.
        """
        if self._unsure:
            if not self._study.in_place():
                raise StoreLostError
            self._study.reconcile()
            self._unsure = False


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def deliver(outbox: Path, uri: str, artifacts: Path | None, commands: Iterable[str]) -> int:
    """Deliver an outbox until the driver says that it is whole, or is gone; the exit code.

    Args:
        artifacts: where a store kept by a database puts files.
        commands: of the driver.
    """
    settle_collector()
    guard()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(5)
    logging.basicConfig()
    logging.root.handlers[0].setFormatter(DiscreetFormatter(uri))
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    # A lost answer must come back here, where it is reconciled, not be posted again inside MLflow's client.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    following = Commands(commands)
    following.start()
    with open(outbox.with_suffix(".writer.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        writer = Writer(outbox, uri, artifacts, following)
        try:
            writer.run()
        except UserError as error:
            writer.say("refused", str(error))
            return EXIT_REFUSED
        writer.say("drained")
    return 0
