"""Train the finals and record them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from regsearch.config import StudyConfig
from regsearch.driver.plan import TURN_MS
from regsearch.driver.retrain import Weights, train_all
from regsearch.executors.executor import Executor
from regsearch.finals.plan import Contender, FinalRun
from regsearch.tracking.log.records import END_STATUS, Metrics, RunEnd, RunStart, Tracker
from regsearch.trial import Trial

Tags = Callable[[Trial], dict[str, str]]


def train_finals(
    config: StudyConfig,
    contenders: Sequence[Contender],
    on_split: Callable[[int], AbstractContextManager[Executor]],
    tracker: Tracker,
    start_ms: int,
    tags: Tags,
) -> None:
    """Train all finals, those of a split together, and record every one with the tracker.

    Args:
        on_split: gives the executor that has a split's rows.
        tags: of a final's run.
    """
    for split in range(config.finalize.splits):
        runs = {id(run.trial): run for contender in contenders for run in contender.on_split(split)}

        def ended(final: Trial, weights: Weights, runs: dict[int, FinalRun] = runs) -> None:
            run = runs[id(final)]
            run.weights = weights if final.reason is None else None
            record_final(tracker, run, tags(final), start_ms, config.train.epochs)

        with on_split(split) as executor:
            train_all(executor, [run.trial for run in runs.values()], config.train.epochs, ended)


def record_final(
    tracker: Tracker, run: FinalRun, tags: dict[str, str], start_ms: int, epochs: int, only: str = ""
) -> None:
    """Record a final that has ended; of its metrics those that begin with `only`."""
    final = run.trial
    start = start_ms + final.number * TURN_MS
    tracker.append(RunStart("final", final.number, f"final-{final.number:03d}", run.params, tags, start))
    for report in final.reports:
        metrics = {key: value for key, value in report.metrics.items() if math.isfinite(value) and key.startswith(only)}
        tracker.append(Metrics("final", final.number, report.epoch, metrics, start + report.epoch))
    status, restored = END_STATUS[final.state], final.reports[-1].restored
    tracker.append(RunEnd("final", final.number, status, final.reason, start + epochs, restored))
    tracker.commit()
