"""The interval covers the truth as often as it says, and a claim is rarely false: measured on studies with known truth.

Limits are those within which a true 95 % interval lies in all but one of a thousand seeded simulations of this size.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from regsearch.analysis.bootstrap import Grid, _joint_draws
from tests.analysis.simulation import classification, contrasts, regression

CLASSES, VALUES = (classification, "balanced_accuracy"), (regression, "rmse")
NULLS = {
    "rows and seeds": (CLASSES, {}),
    "ten classes, few errors": (CLASSES, {"classes": 10, "rows": 360, "ease": 4.0}),
    "seeds matter most": (CLASSES, {"classes": 2, "seed": 1.5}),
    "seeds do not matter": (CLASSES, {"classes": 2, "seed": 0.0, "noise": 0.0, "own": 0.4}),
    "errors": (VALUES, {}),
    "errors, seeds matter most": (VALUES, {"seed": 0.3, "own": 0.2, "noise": 0.1}),
}


def _check(kind: Any, options: dict[str, float], repeats: int, draws: int) -> None:
    draw, metric = kind
    found = contrasts(partial(draw, **options), metric, repeats, draws)
    covered = sum(each.low <= 0 <= each.high for each in found)
    claims = sum(each.claim for each in found)
    assert covered >= binom.ppf(0.001, repeats, 0.95)
    assert claims <= binom.ppf(0.999, repeats, 0.025)
    # An interval that always covers would say nothing; few differing rows make it cautious, up to 98.5 %.
    assert covered <= binom.ppf(0.999, repeats, 0.985)


@pytest.mark.parametrize("name", NULLS)
def test_interval_covers_no_difference_and_claims_are_rarely_false(name: str) -> None:
    _check(*NULLS[name], repeats=200, draws=300)


@pytest.mark.slow
@pytest.mark.parametrize("name", NULLS)
def test_interval_covers_no_difference_in_many_studies(name: str) -> None:
    _check(*NULLS[name], repeats=3000, draws=500)


def test_few_rows_that_differ_do_not_make_a_claim() -> None:
    """Without the pseudo-row, four rows all in favour of one candidate would."""
    found = contrasts(partial(classification, classes=2, seed=0.0, noise=0.0, own=0.1, ease=3.0), *_few)
    assert sum(each.claim for each in found) <= binom.ppf(0.999, len(found), 0.025)
    y = np.arange(200) % 2
    for rows, claim in ((4, False), (8, True)):
        worse = y.copy()
        worse[:rows] = 1 - y[:rows]
        contrast = contrasts(lambda _, worse=worse: (np.tile(y, (10, 1)), np.tile(worse, (10, 1)), y), *_once)[0]
        assert contrast.claim is claim


_few = ("balanced_accuracy", 200, 300)
_once = ("balanced_accuracy", 1, 4000)


@pytest.mark.parametrize(
    ("draw", "metric", "shift"), [(classification, "balanced_accuracy", 1.0), (regression, "rmse", 0.2)]
)
def test_a_planted_effect_is_found(draw: Callable[..., Any], metric: str, shift: float) -> None:
    found = contrasts(partial(draw, shift=shift), metric, 60, 300)
    assert sum(each.claim for each in found) >= 50
    assert not any(each.gain.high < 0 for each in found)


def test_the_plain_bootstrap_would_claim_too_often_where_seeds_matter() -> None:
    """The reason for the correction: the share of false intervals without it."""
    random = np.random.default_rng(3)
    missed = 0
    for _ in range(300):
        winner, baseline, y = classification(random, classes=2, seed=1.5)
        grid = Grid.of([winner, baseline], y, "balanced_accuracy", 0)
        low, high = np.quantile(_joint_draws(grid, np.array([1.0, -1.0]), 300, random), [0.025, 0.975])
        missed += not low <= 0 <= high
    assert missed > binom.ppf(0.999, 300, 0.05)
