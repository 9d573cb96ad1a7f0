"""Several objectives and constraints in Optuna's storage, and what the books make of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from regsearch.config import SearchConfig
from regsearch.driver.base import StudyDriver
from regsearch.driver.plan import SearchPlan
from regsearch.driver.ranking import constraint_counts, constraint_remark, front_rows
from regsearch.search.journal import JournalFile
from regsearch.search.optuna import OptunaSearch
from regsearch.space import Range, SearchSpace
from regsearch.trial import Report, Trial, TrialState

SPACE = SearchSpace(None, {}, {}, (Range("dropout.p", 0.0, 0.8), Range("l2.strength", 1e-6, 1e-1, log=True)))


def search(folder: Path, **given: Any) -> OptunaSearch:
    config = SearchConfig.model_validate(given)
    directions = ["minimize"] * len(config.objectives)
    return OptunaSearch("study", SPACE, config, JournalFile(folder / "search.journal"), directions, 3)


class MadeUp(StudyDriver[OptunaSearch]):
    """A driver of made-up trials."""

    def run(self, watch: Any = None) -> None:
        raise NotImplementedError

    def ended(self, number: int, state: TrialState = TrialState.COMPLETE, **metrics: float) -> None:
        trial = self.trials.get(number) or self._add(number, dict(self.search.ask().params))
        trial.reports = [Report(number, 1, metrics)]
        self._end(trial, state)


def driver(search: OptunaSearch) -> MadeUp:
    tracker = SimpleNamespace(append=lambda record: True, commit=lambda: None)
    plan = SearchPlan(9, 3, 0, search.config.objectives, constraints=search.config.constraints)
    return MadeUp(search, tracker, SimpleNamespace(), plan)  # type: ignore[arg-type]


def numbers(trials: list[Trial]) -> list[int]:
    return [trial.number for trial in trials]


def test_the_front_comes_first_and_is_there_again_after_a_resume(tmp_path: Path) -> None:
    made = search(tmp_path, objective=["val_loss", "gap"])
    kept = driver(made)
    points = [(0.9, 0.05), (0.5, 0.4), (0.6, 0.2), (0.8, 0.3), (0.5, 0.4), (0.7, 0.1)]
    for number, (loss, gap) in enumerate(points):
        kept.ended(number, val_loss=loss, gap=gap)
    kept.ended(6, TrialState.PRUNED, val_loss=0.1, gap=0.0)
    kept.ended(7, TrialState.FAIL)
    assert numbers(kept.result().front) == [1, 0, 2, 5]
    assert numbers(kept.result().ranked) == [1, 0, 2, 5, 4, 3]
    assert kept.best() is kept.trials[1]
    made.commit({"turn": 1})
    again = driver(search(tmp_path, objective=["val_loss", "gap"]))
    assert numbers(again.result().front) == [1, 0, 2, 5]
    assert again.trials[2].values == (0.6, 0.2)


def test_the_best_trial_keeps_to_the_constraints(tmp_path: Path) -> None:
    kept = driver(search(tmp_path, constraint=["gap <= 0.1", "epochs <= 2"]))
    for number, (loss, gap) in enumerate([(0.1, 0.5), (0.4, 0.1), (0.3, 0.05), (0.2, 0.11)]):
        kept.ended(number, val_loss=loss, gap=gap)
    kept.ended(4, TrialState.PRUNED, val_loss=0.1, gap=0.9)
    assert numbers(kept.result().ranked) == [2, 1] and kept.result().front == ()
    (known,) = (each for each in kept.search.trials() if each.number == 0)
    assert known.violation == pytest.approx(0.4)
    found = kept.search.study.get_trials()
    assert [set(each.constraints) for each in found] == [{"gap <= 0.1", "epochs <= 2"}] * 5
    assert kept.search.study.best_trial.number == 2


def test_where_nothing_keeps_to_them_the_least_violating_is_best(tmp_path: Path) -> None:
    kept = driver(search(tmp_path, objective=["val_loss", "gap"], constraint="gap <= 0.1"))
    for number, (loss, gap) in enumerate([(0.1, 0.5), (0.4, 0.2), (0.3, 0.3)]):
        kept.ended(number, val_loss=loss, gap=gap)
    assert kept.result().front == () and numbers(kept.result().ranked) == [1, 2, 0]


def drawn(made: MadeUp, trials: int, loss: Callable[[float], float]) -> list[float]:
    """The dropout rates that the search draws one after the other, where the loss is one of the rate; the gap is it."""
    rates = []
    for number in range(trials):
        trial = made._add(number, dict(made.search.ask().params))
        p = float(trial.params.get("dropout.p", 0.0))
        trial.reports = [Report(number, 1, {"val_loss": loss(p), "gap": p})]
        made._end(trial, TrialState.COMPLETE)
        rates.append(p)
    return rates


TRIALS = {"tpe": 60, "gp": 25, "cmaes": 60, "nsga2": 130, "nsga3": 130}


NAMES = [pytest.param(name, marks=pytest.mark.slow) if name == "gp" else name for name in TRIALS]


@pytest.mark.parametrize("sampler", NAMES)
def test_the_sampler_learns_though_the_baseline_draws_nothing(sampler: str, tmp_path: Path) -> None:
    """By chance 5 of 20 rates in [0, 0.8] lie within 0.1 of the best one."""
    late = drawn(driver(search(tmp_path, sampler=sampler, seed=1)), TRIALS[sampler], lambda p: (p - 0.6) ** 2)[-20:]
    assert sum(abs(p - 0.6) < 0.1 for p in late) >= 9, late


@pytest.mark.parametrize("sampler", [each for each in NAMES if each != "cmaes"])
def test_the_sampler_learns_of_constraints(sampler: str, tmp_path: Path) -> None:
    """The loss falls with dropout, which may be 0.3 at most: by chance 6 of 15 rates are no more than a bit above."""
    kept = driver(search(tmp_path, sampler=sampler, constraint="gap <= 0.3", seed=1))
    late = drawn(kept, TRIALS[sampler], lambda p: 1 - p)[-15:]
    assert sum(p <= 0.31 for p in late) >= 9, late
    best = kept.best()
    assert best is not None and 0.2 < float(best.params["dropout.p"]) <= 0.3


def test_what_a_user_may_not_expect_is_said(tmp_path: Path) -> None:
    made = search(tmp_path, objective=["val_loss", "gap"], sampler="random", constraint="gap <= 0.1")
    assert made.notes[0] == "several objectives: nothing is pruned" and "random draws without regard" in made.notes[1]
    (tmp_path / "other").mkdir()
    assert search(tmp_path / "other", objective=["val_loss", "gap"], pruner="none", constraint="gap <= 0.1").notes == []


def test_the_answer_says_that_nothing_keeps_to_the_constraint(tmp_path: Path) -> None:
    kept = driver(search(tmp_path, constraint="gap <= 0.1"))
    assert constraint_remark(kept.result()) == "" and front_rows(kept.result()) is None
    kept.ended(0, val_loss=0.1, gap=0.5)
    assert constraint_remark(kept.result()) == " No trial keeps to gap <= 0.1: the one that breaks it least was taken."
    kept.ended(1, val_loss=0.2, gap=0.1)
    assert constraint_remark(kept.result()) == ""
    assert constraint_counts(kept.result()) == {"asked": ["gap <= 0.1"], "kept_by": 1, "of": 2}
