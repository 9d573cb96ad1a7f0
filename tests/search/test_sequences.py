"""Sobol' and Halton fill a space evenly, point by point of one sequence."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from scipy.stats import qmc

from regsearch.config import SearchConfig
from regsearch.search.journal import JournalFile
from regsearch.search.optuna import OptunaSearch
from regsearch.search.sequences import Sequence
from regsearch.space import Choice, Params, Range, SearchSpace
from regsearch.trial import TrialState

PLAIN = SearchSpace(always=(Range("dropout.p", 0.0, 0.8), Range("l2.strength", 1e-6, 1e-1, log=True)))
MIXED = SearchSpace(
    "one",
    {"l1": (Range("l1.strength", 1e-6, 1e-2, log=True), Choice("l1.strength.schedule", ("constant", "linear")))},
    always=(Range("dropout.p", 0.2, 0.6), Range("stop.patience", 3, 6, integer=True)),
)


def search(folder: Path, sampler: str, space: SearchSpace = PLAIN, seed: int = 0) -> OptunaSearch:
    config = SearchConfig.model_validate({"sampler": sampler, "pruner": "none", "seed": seed})
    return OptunaSearch("study", space, config, JournalFile(folder / f"{sampler}.journal"), ["minimize"], 3)


def unit(params: Params) -> tuple[float, float]:
    return float(params["dropout.p"]) / 0.8, math.log(float(params["l2.strength"]) / 1e-6) / math.log(1e5)


def discrepancy(points: Any) -> float:
    return float(qmc.discrepancy(np.clip(np.array(points), 0.0, 1.0)))


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_draws_are_as_even_as_optunas_own(tmp_path: Path) -> None:
    measured: dict[str, float] = {}
    for sampler in ("sobol", "qmc", "halton", "random"):
        one = search(tmp_path, sampler)
        one.ask()  # the baseline
        measured[sampler] = discrepancy([unit(one.ask().params) for _ in range(64)])
    theirs = optuna.create_study(sampler=optuna.samplers.QMCSampler(seed=0, scramble=True))
    both: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.FloatDistribution(0, 1) for name in "ab"
    }
    theirs.tell(theirs.ask(both), 0.0)  # from which it learns what there is to draw
    asked = [theirs.ask(both) for _ in range(64)]
    bound = 2 * discrepancy([tuple(trial.params.values()) for trial in asked])
    assert bound < 0.0005
    assert measured["sobol"] == measured["qmc"] < bound and measured["halton"] < bound
    assert measured["random"] > 10 * bound
    assert measured["sobol"] != measured["halton"]


@pytest.mark.parametrize("kind", ["sobol", "halton"])
def test_a_point_is_that_of_its_number_alone(tmp_path: Path, kind: Any) -> None:
    forth, back = Sequence(kind, MIXED, 7), Sequence(kind, MIXED, 7)
    points = [forth.answers(number) for number in range(1, 41)]
    assert points == [back.answers(number) for number in range(40, 0, -1)][::-1]
    assert points != [Sequence(kind, MIXED, 8).answers(number) for number in range(1, 41)]
    for number in range(41):  # opened anew for each, whatever became of the others
        one = search(tmp_path, kind, MIXED, 7)
        params = one.ask().params
        if number:
            assert params.items() <= points[number - 1].items()
        one.tell(number, (TrialState.PRUNED, TrialState.FAIL, TrialState.COMPLETE)[number % 3], float(number))
        one.commit({"turn": number})


@pytest.mark.parametrize("kind", ["sobol", "halton"])
def test_words_whole_numbers_and_log_scales_get_equal_shares(kind: Any) -> None:
    points = Sequence(kind, MIXED, 0)
    draws = [points.answers(number) for number in range(1, 257)]
    words: dict[str, list[Any]] = {
        "regularizer": ["none", "l1"],
        "l1.strength.schedule": ["constant", "linear"],
        "stop.patience": [3, 4, 5, 6],
    }
    for name, values in words.items():
        counts = Counter(draw[name] for draw in draws)
        assert set(counts) == set(values)
        assert max(counts.values()) - min(counts.values()) <= 4, (name, counts)
    logs = np.array([math.log10(float(draw["l1.strength"])) for draw in draws])
    assert np.histogram(logs, bins=4, range=(-6, -2))[0] == pytest.approx([64] * 4, abs=3)
    linear = np.array([draw["dropout.p"] for draw in draws])
    assert np.histogram(linear, bins=4, range=(0.2, 0.6))[0] == pytest.approx([64] * 4, abs=3)


def test_a_whole_number_on_a_log_scale_stays_within_its_bounds() -> None:
    space = SearchSpace(always=(Range("stop.patience", 1, 100, log=True, integer=True),))
    points = Sequence("sobol", space, 0)
    values = [float(points.answers(number)["stop.patience"]) for number in range(1, 513)]
    assert min(values) == 1 and max(values) == 100 and all(map(float.is_integer, values))
    assert sum(value < 10 for value in values) / 512 == pytest.approx(math.log(9.5 / 0.5) / math.log(201), abs=0.02)
