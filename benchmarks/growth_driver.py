"""What growth.py measures of the driver: asks and decisions after n trials, records, commits, orders to W workers.

What computes is measured in CPU seconds, which a busy machine changes little; what waits for a disk in wall seconds.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from growth_parts import EPOCHS, LightExecutor, driven, study_of

from regsearch.core.pack import Load
from regsearch.executors.executor import COHORTS
from regsearch.search.journal import JournalFile
from regsearch.search.optuna import OptunaSearch
from regsearch.tracking.log.outbox import Outbox
from regsearch.tracking.log.records import Metrics, RunStart
from regsearch.trial import TrialState

WINDOW = 1000
LATEST = f"tpe, last {WINDOW:,}"
VARIANTS = ("tpe", LATEST, "random")


class Decisions:
    """A search that has seen n trials end, for what one more costs.

    Args:
        folder: of the journal.
        lanes: trials in flight.
        search: settings of the study's search.
    """

    def __init__(self, folder: Path, lanes: int = 32, **search: Any) -> None:
        with tempfile.TemporaryDirectory() as few:
            driven(Path(few), 256, sampler="random", pruner="asha")
            study = study_of(Path(few), sampler="random")
            old = OptunaSearch(
                "digits",
                study.space,
                study.config.search,
                JournalFile(Path(few) / "search.journal"),
                ["minimize"],
                EPOCHS,
            )
            self._like = [trial for trial in old.study.get_trials() if trial.number and trial.state.is_finished()]
        config = study_of(folder, parallel=lanes, **search).config
        self._file = folder / "search.journal"
        self.search = OptunaSearch("digits", study.space, config.search, JournalFile(self._file), ["minimize"], EPOCHS)
        self.ended = 0
        self.search.ask()
        self.search.report(0, EPOCHS, 1.0)
        self.search.tell(0, TrialState.COMPLETE, 1.0)
        self._running = [self.search.ask().number for _ in range(lanes)]

    def fill(self, ended: int) -> None:
        """Let trials like those of a real search have ended, up to `ended` of them."""
        storage, noise = self.search._storage, random.Random(self.ended)
        for _ in range(ended - self.ended):
            like = noise.choice(self._like)
            like.value = (like.value or 0.0) + 1e-3 * noise.random()
            identifier = storage.create_new_trial(self.search.study._study_id, template_trial=like)
            self.search._ids[len(self.search._ids)] = identifier
        self.search.commit(clock(0))
        self.ended = ended

    def cost(self, variant: str, seconds: float) -> dict[str, float]:
        """Seconds (medians) of an ask, a report between rungs, one at a rung, and a tell, in about `seconds`.

        Args:
            variant: of `VARIANTS`: the sampler, and whether it sees the latest trials alone.
        """
        self.search.config = self.search.config.model_copy(update={"sampler": variant.partition(",")[0]})
        with _latest(self.search) if "," in variant else nullcontext():
            return self._cost(seconds)

    def _cost(self, seconds: float) -> dict[str, float]:
        spent: dict[str, list[float]] = {"ask": [], "report": [], "prune": [], "tell": []}
        until = time.perf_counter() + seconds
        while time.perf_counter() < until or len(spent["ask"]) < 3:
            number = self._running.pop(0)
            with clocked(spent["ask"]):
                self._running.append(self.search.ask().number)
            with clocked(spent["report"]):
                self.search.report(number, 1, 0.5)
            with clocked(spent["prune"]):
                self.search.report(number, 3, 0.4)
            with clocked(spent["tell"]):
                self.search.tell(number, TrialState.PRUNED, None)
            self.ended += 1
        return {name: statistics.median(each) for name, each in spent.items()}

    def opening(self) -> float:
        """Seconds that a resumed study needs to read the journal."""
        self.search.commit(clock(0))
        start, study = time.process_time(), self.search.study
        OptunaSearch(
            study.study_name, self.search.space, self.search.config, JournalFile(self._file), ["minimize"], EPOCHS
        )
        return time.process_time() - start

    def commit(self, lanes: int) -> dict[str, float]:
        """Seconds in which a turn becomes durable, with so many trials in flight: by the wall, and of the processor."""
        spent: dict[str, list[float]] = {"wall": [], "cpu": []}
        for _ in range(9):
            with clocked(spent["wall"], time.perf_counter), clocked(spent["cpu"]):
                self.search.commit(clock(lanes))
        return {name: statistics.median(each) for name, each in spent.items()}


def clock(lanes: int) -> dict[str, Any]:
    """The driver's clock with so many trials in flight, and half as many waiting."""
    held = [[100_000 + lane, lane % EPOCHS] for lane in range(lanes)]
    return {"turn": 0, "next": 0, "lanes": held, "waiting": [200_000 + k for k in range(lanes // COHORTS)]}


@contextmanager
def _latest(search: OptunaSearch) -> Iterator[None]:
    """Let the sampler see the last trials alone; the storage lists all of them before."""
    storage, ask = search._storage, search.ask
    every = storage.get_all_trials

    def ask_of_latest() -> Any:
        storage.get_all_trials = lambda *given, **named: every(*given, **named)[-WINDOW:]  # type: ignore[method-assign]
        try:
            return ask()
        finally:
            storage.get_all_trials = every  # type: ignore[method-assign]

    search.ask = ask_of_latest  # type: ignore[method-assign]
    try:
        yield
    finally:
        search.ask = ask  # type: ignore[method-assign]


def records(folder: Path, metrics: int) -> dict[str, float]:
    """Seconds to append a report's record and a beginning trial's, and to commit a turn of 16; bytes of the two."""
    values = {f"metric_{k}": 0.1 + k for k in range(metrics)}
    params = {"dropout.p": 0.3, "clip_by_norm.max_norm": 1.0, "l2.strength": 1e-3, "seed": 1}
    spent: dict[str, list[float]] = {"report": [], "begin": [], "commit": []}
    with Outbox(folder / f"outbox-{metrics}.jsonl") as outbox:
        for number in range(1000):
            with clocked(spent["begin"]):
                name, tags = f"trial-{number:03d}", {"regsearch.regularizers": "l2+dropout+clip_by_norm"}
                outbox.append(RunStart("trial", number, name, params, tags, number))
            with clocked(spent["report"]):
                outbox.append(Metrics("trial", number, 1, values, number))
            if number % 16 == 15:
                with clocked(spent["commit"], time.perf_counter):
                    outbox.commit()
        size = outbox.path.stat().st_size
    return {**{name: statistics.median(each) for name, each in spent.items()}, "bytes": size / 1000}


def orders(workers: int, slots: int, turns: int = 6) -> dict[str, float]:
    """Seconds of the driver to hand one cohort's round to so many workers and to take in their answers.

    Args:
        slots: trials in flight per worker.
        turns: how many rounds the median is over.
    """
    lanes = workers * slots
    executor = LightExecutor(workers, lanes, 9)
    mine = {c: [lane for lane in range(lanes) if executor.cohort(lane) == c] for c in range(COHORTS)}
    for cohort, members in mine.items():
        executor.dispatch(cohort, [(lane, Load(lane, {"dropout.p": 0.3}, lane), 0) for lane in members], members)
    spent: list[float] = []
    for turn in range(turns):
        cohort, light = turn % COHORTS, executor.light_seconds()
        with clocked(spent):
            executor.wait(cohort)
            executor.dispatch(cohort, [], mine[cohort])
        spent[-1] -= executor.light_seconds() - light
    return {"workers": workers, "slots": slots, "seconds": statistics.median(spent)}


@contextmanager
def clocked(into: list[float], seconds: Callable[[], float] = time.process_time) -> Iterator[None]:
    start = seconds()
    yield
    into.append(seconds() - start)
