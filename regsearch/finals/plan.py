"""Plan the finals: the finalists trained again on fresh paired seeds, on each cut of training and validation."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from regsearch.analysis.finals_summary import NO_TRIAL, Candidate
from regsearch.config import StudyConfig
from regsearch.driver.retrain import Weights
from regsearch.finals.finalists import BASELINE, Finalist
from regsearch.space import Params
from regsearch.tracking.log.history import StudyHistory
from regsearch.trial import Trial, derive_seed


class FinalNumbers:
    """Number the finals. Those that an outbox has keep theirs, whichever finals are held next; others get the lowest
    that are free, so a resumed study gives the same ones again.
    """

    def __init__(self, outbox: Path) -> None:
        finals = StudyHistory.read(outbox).finals()
        self._known = {_key(final.params): number for number, final in finals.items()}
        self.before = sorted(self._known.values())

    def of(self, params: Params) -> int:
        """Give the number of the final with these parameters in the store: its knobs, seed, candidate and split."""
        key = _key(params)
        if key not in self._known:
            taken = set(self._known.values())
            self._known[key] = next(number for number in range(len(taken) + 1) if number not in taken)
        return self._known[key]


def _key(params: Mapping[str, float | str]) -> str:
    return json.dumps(dict(params), sort_keys=True)


@dataclass(eq=False)
class FinalRun:
    """Hold one final.

    Args:
        trial: its setting, seed and curve.
        params: what the store has of it: knobs, seed, candidate and split.
        split: the cut of training and validation rows that it trains on; 0 is the study's own.
        weights: once it is trained; None before, and where it failed.
    """

    trial: Trial
    params: Params
    split: int = 0
    weights: Weights | None = None


@dataclass(frozen=True, eq=False)
class Contender:
    """Hold a finalist with its finals.

    Args:
        finalist: the setting and what it stands for.
        runs: the seeds of each split, one split's after the other's.
        measured: what they measured on the sealed test; None before, and where none of them can predict.
    """

    finalist: Finalist
    runs: tuple[FinalRun, ...]
    measured: Candidate | None = None

    @property
    def number(self) -> int:
        """The number of the trial whose setting it is."""
        return self.finalist.trial.number

    @property
    def is_baseline(self) -> bool:
        """Whether every searched regularizer is off in it."""
        return BASELINE in self.finalist.roles

    @property
    def diverged(self) -> bool:
        """Whether it diverged at every seed."""
        return all(run.trial.reason for run in self.runs)

    def on_split(self, split: int = 0) -> list[FinalRun]:
        """Give its finals on one cut, in the order of seeds."""
        return [run for run in self.runs if run.split == split]

    def good(self) -> list[FinalRun]:
        """Give its finals on the study's own cut that did not fail."""
        return [run for run in self.on_split() if run.trial.reason is None]


def baseline_of(contenders: Sequence[Contender]) -> Contender:
    """Find the baseline among the contenders."""
    return next(contender for contender in contenders if contender.is_baseline)


def plan_finals(config: StudyConfig, finalists: Sequence[Finalist], numbers: FinalNumbers) -> list[Contender]:
    """Plan every final, not yet trained: each finalist on the study's paired final seeds, on each split."""
    return [Contender(finalist, tuple(_runs(config, finalist, numbers))) for finalist in finalists]


def _runs(config: StudyConfig, finalist: Finalist, numbers: FinalNumbers) -> Iterator[FinalRun]:
    trial = finalist.trial
    candidate = "default" if trial.number == NO_TRIAL else trial.number
    for split in range(config.finalize.splits):
        for k in range(config.finalize.seeds):
            seed = derive_seed(config.search.seed, "final", k)
            params: Params = {**trial.params, "seed": seed, "candidate": candidate}
            params |= {"split": split} if split else {}
            final = Trial(numbers.of(params), dict(trial.params), seed, "final")
            final.stages = tuple(replace(stage, seed=seed) for stage in trial.stages)
            yield FinalRun(final, params, split)
