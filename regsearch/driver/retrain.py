"""Train trials without a search: the finals of a study, and trials of its search once more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from regsearch.core.pack import Load, Start
from regsearch.executors.executor import COHORTS, Executor
from regsearch.trial import Trial, TrialState

Weights = dict[str, Any]
"""The arrays of a trained model, parameters and buffers, by their names in it."""


def train_all(executor: Executor, trials: list[Trial], epochs: int, ended: Callable[[Trial, Weights], None]) -> None:
    """Train every trial to its end, without a search: `ended` gets each one and its weights (none where it failed), in
    the order of their lanes.

    Args:
        epochs: of each; where they are fewer than the study's, learning rate and strengths follow its schedule so far.

    Trials fill the lanes in waves; the answer does not depend on which lane a trial is in.
    """
    for first in range(0, len(trials), executor.lanes):
        wave = dict(enumerate(trials[first : first + executor.lanes]))
        active = set(wave)
        while active:
            cohorts = [[lane for lane in sorted(active) if executor.cohort(lane) == c] for c in range(COHORTS)]
            for cohort, lanes in enumerate(cohorts):
                if lanes:
                    starts = [
                        (lane, start, len(wave[lane].reports))
                        for lane in lanes
                        for start in _begin(executor, lane, wave[lane], epochs)
                    ]
                    executor.dispatch(cohort, starts, lanes)
            done = []
            for cohort, lanes in enumerate(cohorts):
                for lane, report in executor.wait(cohort) if lanes else []:
                    wave[lane].reports.append(report)
                    if report.reason or report.stopped or report.epoch >= epochs:
                        done.append(lane)
            for lane in sorted(done):
                trial = wave[lane]
                last = trial.reports[-1]
                trial.reason = last.reason
                trial.state = TrialState.FAIL if last.reason else TrialState.COMPLETE
                ended(trial, {} if last.reason else executor.weights(lane))
                active.discard(lane)


def _begin(executor: Executor, lane: int, trial: Trial, epochs: int) -> Iterator[Start]:
    """What the lane of a trial has to be given before its next epoch, if anything: what its next stage begins with."""
    epoch = len(trial.reports)
    for stage in trial.history():
        if stage.epoch == epoch:
            load = Load(trial.number, dict(stage.params), stage.seed, epochs)
            yield load if epoch == 0 else replace(executor.state(lane), load=load)


def trained_again(trials: Iterable[Trial], executor: Executor, epochs: int) -> list[tuple[Trial, Weights]]:
    """Train trials of the search once more from their seeds, for their weights; those that fail are left out."""
    copies = []
    for trial in trials:
        copy = Trial(trial.number, dict(trial.params), trial.seed)
        copy.stages = trial.stages
        copies.append(copy)
    trained: list[tuple[Trial, Weights]] = []
    train_all(executor, copies, epochs, lambda trial, weights: trained.append((trial, weights)))
    return [(trial, weights) for trial, weights in trained if trial.reason is None]
