from __future__ import annotations

import json
import math
import time

import numpy as np
import pytest
from scipy.stats import t

from regsearch.analysis.bootstrap import Grid, _joint_draws, _linearised, _variance
from regsearch.analysis.statistics import Contrast, Interval, holm, interval, metric_interval, paired_bootstrap
from regsearch.errors import UserError
from tests.analysis.simulation import classification, regression


def _finals(seeds: int = 10, rows: int = 360, classes: int = 10) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(5)
    y = random.integers(0, classes, rows)
    wrong = (y + 1) % classes
    return (*(np.where(random.random((seeds, rows)) < share, y, wrong) for share in (0.93, 0.88)), y)


def test_difference_is_the_difference_of_the_metrics() -> None:
    from sklearn.metrics import balanced_accuracy_score, root_mean_squared_error

    winner, baseline, y = _finals()
    contrast = paired_bootstrap(winner, baseline, y, "balanced_accuracy", draws=50, seed=1)
    by_hand = [
        balanced_accuracy_score(y, a) - balanced_accuracy_score(y, b) for a, b in zip(winner, baseline, strict=True)
    ]
    assert contrast.difference == pytest.approx(np.mean(by_hand), abs=1e-12)
    contrast = paired_bootstrap(winner * 1.0, baseline * 1.0, y * 1.0, "rmse", draws=50, seed=1)
    by_hand = [
        root_mean_squared_error(y, a) - root_mean_squared_error(y, b) for a, b in zip(winner, baseline, strict=True)
    ]
    assert contrast.difference == pytest.approx(np.mean(by_hand), abs=1e-12)


@pytest.mark.parametrize("metric", ["balanced_accuracy", "rmse"])
def test_draws_are_the_resampled_metric(metric: str) -> None:
    """The matrix products give what a loop over indices would: the same first two moments, draw for draw structure."""
    random = np.random.default_rng(0)
    winner, baseline, y = (classification if metric == "balanced_accuracy" else regression)(random, seeds=4, rows=24)
    grid = Grid.of([winner, baseline], y, metric, 0)
    draws = _joint_draws(grid, np.array([1.0, -1.0]), 20_000, random)
    slow = []
    for _ in range(4000):
        seeds = random.integers(0, 4, 4)
        rows = np.concatenate([random.choice(each, each.size) for each in grid.strata])
        again = Grid.of([winner[np.ix_(seeds, rows)], baseline[np.ix_(seeds, rows)]], y[rows], metric, 0)
        slow.append(float(np.array([1.0, -1.0]) @ again.metric().mean(axis=1)))
    error = np.std(slow) / math.sqrt(len(slow))
    assert draws.mean() == pytest.approx(np.mean(slow), abs=4 * error)
    assert draws.std() == pytest.approx(np.std(slow), rel=0.05)


def test_variance_is_that_of_crossed_random_effects() -> None:
    """Equation (1), against the spread of the mean over many grids with known components."""
    random = np.random.default_rng(1)
    seeds, rows, estimates, means = 6, 30, [], []
    for _ in range(1500):
        x = 2 * random.normal(size=(seeds, 1)) + 3 * random.normal(size=rows) + 4 * random.normal(size=(seeds, rows))
        grid = Grid(x[None], (np.arange(rows),), counts=False)
        estimates.append(_variance(x, grid)[0])
        means.append(x.mean())
    truth = 4 / seeds + 9 / rows + 16 / (seeds * rows)
    assert np.mean(estimates) == pytest.approx(truth, rel=0.05)
    assert np.var(means) == pytest.approx(truth, rel=0.12)


def test_linearised_rmse_averages_to_the_rmse() -> None:
    winner, baseline, y = regression(np.random.default_rng(2), seeds=3, rows=50)
    grid = Grid.of([winner, baseline], y, "rmse", 0)
    metric, sign = grid.metric(), np.array([1.0, -1.0])
    np.testing.assert_allclose(_linearised(grid, metric, sign).mean(axis=1), sign @ metric)


def test_direction_follows_the_metric() -> None:
    winner, baseline, y = _finals()
    up = paired_bootstrap(winner, baseline, y, "balanced_accuracy", draws=500, seed=1)
    assert up.difference > 0 and up.low > 0 and up.claim and up.favours_winner and up.p_better > 0.99
    random = np.random.default_rng(0)
    good, bad, y = regression(random, shift=0.5)
    down = paired_bootstrap(good, bad, y, "rmse", draws=500, seed=1)
    assert down.difference < 0 and down.high < 0 and down.claim and down.favours_winner and down.p_better > 0.99
    turned = paired_bootstrap(bad, good, y, "rmse", draws=500, seed=1)
    assert turned.difference == -down.difference
    assert not turned.claim and not turned.favours_winner and turned.p_better < 0.01


def test_equal_predictions_are_a_tie() -> None:
    winner, _, y = _finals()
    tie = paired_bootstrap(winner, winner, y, "balanced_accuracy", draws=2000, seed=1)
    assert tie.difference == 0 and not tie.claim and tie.low < 0 < tie.high
    assert tie.p_better == pytest.approx(0.5, abs=0.05)
    tie = paired_bootstrap(winner * 1.0, winner * 1.0, y * 1.0, "rmse", draws=2000, seed=1)
    assert (tie.low, tie.high, tie.p_better, tie.claim) == (0, 0, 0.5, False)


def test_pairing_of_rows_narrows_the_interval() -> None:
    """The same resample serves both candidates: rows that are hard for both cancel."""
    random = np.random.default_rng(4)
    winner, baseline, y = classification(random, own=0.1, seed=0.05, noise=0.1, classes=2)
    other, _, _ = classification(random, own=0.1, seed=0.05, noise=0.1, classes=2)
    paired, unpaired = (
        paired_bootstrap(winner, each, y, "balanced_accuracy", draws=500, seed=1) for each in (baseline, other)
    )
    assert paired.high - paired.low < 0.5 * (unpaired.high - unpaired.low)


def test_scores_labels_and_seed_axis_agree() -> None:
    winner, baseline, y = _finals(classes=3)
    options = {"draws": 200, "seed": 3}
    labels = paired_bootstrap(winner, baseline, y, "balanced_accuracy", **options)
    scores = [np.eye(3)[each] for each in (winner, baseline)]
    assert paired_bootstrap(*scores, y, "balanced_accuracy", **options) == labels
    turned = [np.moveaxis(each, 0, 1) for each in scores]
    assert paired_bootstrap(*turned, y, "balanced_accuracy", 1, **options) == labels
    values = paired_bootstrap(winner * 1.0, baseline * 1.0, y * 1.0, "rmse", **options)
    assert paired_bootstrap(winner[..., None] * 1.0, baseline[..., None] * 1.0, y * 1.0, "rmse", **options) == values


def test_same_seed_same_answer_and_text_labels() -> None:
    winner, baseline, y = _finals(classes=3)
    words = np.array(["cat", "dog", "owl"])
    first = paired_bootstrap(winner, baseline, y, "balanced_accuracy", draws=200, seed=3)
    assert paired_bootstrap(words[winner], words[baseline], words[y], "balanced_accuracy", draws=200, seed=3) == first
    assert paired_bootstrap(winner, baseline, y, "balanced_accuracy", draws=200, seed=4) != first


def test_a_class_with_one_row_is_never_lost() -> None:
    winner, baseline, y = _finals(rows=90, classes=3)
    y[y == 2] = 0
    y[7] = 2
    contrast = paired_bootstrap(winner, baseline, y, "balanced_accuracy", draws=500, seed=1)
    assert math.isfinite(contrast.low) and contrast.low < contrast.difference < contrast.high


def test_one_seed_claims_nothing() -> None:
    winner, baseline, y = _finals(seeds=1)
    contrast = paired_bootstrap(y[None], baseline, y, "balanced_accuracy", draws=100, seed=1)
    assert contrast.low == -math.inf and contrast.high == math.inf and math.isnan(contrast.p_better)
    assert contrast.favours_winner and not contrast.claim
    data = json.loads(json.dumps(contrast.to_json(), allow_nan=False))
    assert data["low"] is None and data["p_better"] is None
    assert repr(Contrast.from_json(data)) == repr(contrast)
    assert metric_interval(winner, y, "balanced_accuracy", draws=100, seed=1).low == -math.inf


def test_metric_interval_stays_in_range_and_narrows_with_rows() -> None:
    _, _, y = _finals()
    perfect = metric_interval(np.tile(y, (5, 1)), y, "balanced_accuracy", draws=2000, seed=1)
    assert perfect.value == perfect.high == 1 and 0.98 < perfect.low < 1
    winner, _, y = _finals(rows=100)
    wide = metric_interval(winner, y, "balanced_accuracy", draws=500, seed=1)
    winner, _, y = _finals(rows=1000)
    narrow = metric_interval(winner, y, "balanced_accuracy", draws=500, seed=1)
    assert narrow.low < narrow.value < narrow.high and narrow.high - narrow.low < wide.high - wide.low


def test_interval_over_seeds_is_students() -> None:
    values = np.random.default_rng(1).normal(3, 2, 10)
    low, high = t.interval(0.9, 9, values.mean(), values.std(ddof=1) / math.sqrt(10))
    found = interval(values, 0.9)
    assert (found.value, found.low, found.high) == pytest.approx((values.mean(), low, high))
    assert interval([2.0]) == Interval(2.0, -math.inf, math.inf)
    assert Interval.from_json(interval([2.0]).to_json()) == interval([2.0])


def test_holm_by_hand() -> None:
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1 is 0.02, 0.03, 0.06, 0.04; the last is held up to 0.06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


@pytest.mark.parametrize("metric", ["balanced_accuracy", "rmse"])
def test_ten_thousand_draws_take_at_most_two_seconds(metric: str) -> None:
    winner, baseline, y = _finals()
    start = time.process_time()
    paired_bootstrap(winner.astype(float), baseline.astype(float), y.astype(float), metric, seed=1)
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    ("winner", "baseline", "y", "metric", "level", "message"),
    [
        (np.zeros((2, 3)), np.zeros((3, 3)), np.zeros(3), "rmse", 0.95, "at the same seeds"),
        (np.zeros((2, 4)), np.zeros((2, 4)), np.zeros(3), "rmse", 0.95, "do not fit"),
        (np.zeros((2, 3, 2)), np.zeros((2, 3, 2)), np.zeros(3), "rmse", 0.95, "do not fit"),
        (np.full((2, 3), np.nan), np.zeros((2, 3)), np.zeros(3), "rmse", 0.95, "not finite"),
        (np.zeros((2, 0)), np.zeros((2, 0)), np.zeros(0), "rmse", 0.95, "one value per test row"),
        (np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(3), "rmse", 0.95, "at least one seed"),
        (np.zeros((2, 3)), np.zeros((2, 3)), np.zeros(3), "accuracy", 0.95, "no such metric"),
        (np.zeros((2, 3)), np.zeros((2, 3)), np.zeros(3), "rmse", 1.0, "between 0 and 1"),
    ],
)
def test_what_does_not_fit_is_refused(winner, baseline, y, metric, level, message) -> None:
    with pytest.raises(UserError, match=message):
        paired_bootstrap(winner, baseline, y, metric, draws=10, seed=0, level=level)


def test_bad_values_are_refused() -> None:
    with pytest.raises(UserError, match="p-values"):
        holm([0.1, 1.2])
    with pytest.raises(UserError, match="one number per seed"):
        interval([])


@pytest.mark.parametrize("metric", ["balanced_accuracy", "rmse"])
def test_splits_are_what_is_resampled(metric: str) -> None:
    """Two seeds of each of five cuts: the estimate is the mean over all ten, its spread that of the five means, as a
    loop over the cuts and rows gives it."""
    random = np.random.default_rng(3)
    make = classification if metric == "balanced_accuracy" else regression
    winner, baseline, y = make(random, seeds=10, rows=40)
    grid = Grid.of([winner, baseline], y, metric, 0, splits=5)
    assert grid.units == 5 and Grid.of([winner, baseline], y, metric, 0).units == 10
    sign = np.array([1.0, -1.0])
    draws = _joint_draws(grid, sign, 20_000, random)
    slow = []
    for _ in range(3000):
        seeds = np.concatenate([[2 * cut, 2 * cut + 1] for cut in random.integers(0, 5, 5)])
        rows = np.concatenate([random.choice(each, each.size) for each in grid.strata])
        again = Grid.of([winner[np.ix_(seeds, rows)], baseline[np.ix_(seeds, rows)]], y[rows], metric, 0)
        slow.append(float(sign @ again.metric().mean(axis=1)))
    assert draws.mean() == pytest.approx(np.mean(slow), abs=4 * np.std(slow) / math.sqrt(len(slow)))
    assert draws.std() == pytest.approx(np.std(slow), rel=0.06)
    one = paired_bootstrap(winner, baseline, y, metric, draws=500, seed=1)
    five = paired_bootstrap(winner, baseline, y, metric, draws=500, seed=1, splits=5)
    assert five.difference == one.difference and (five.seeds, one.seeds) == (2, 10)


def test_variance_with_splits_is_that_of_their_means() -> None:
    """Equation (1) with cuts in place of seeds, where seeds of one cut are alike: taken for ten seeds apart, the ten
    trainings would seem to say more than they do."""
    random = np.random.default_rng(1)
    cuts, rows, honest, naive, means = 5, 30, [], [], []
    for _ in range(1500):
        of_cut = np.repeat(2 * random.normal(size=(cuts, 1)), 2, axis=0)
        x = of_cut + random.normal(size=(10, 1)) + 3 * random.normal(size=rows) + 4 * random.normal(size=(10, rows))
        honest.append(_variance(x, Grid(x[None], (np.arange(rows),), counts=False, splits=cuts))[0])
        naive.append(_variance(x, Grid(x[None], (np.arange(rows),), counts=False))[0])
        means.append(x.mean())
    truth = 4 / cuts + 1 / 10 + 9 / rows + 16 / (10 * rows)
    assert np.mean(honest) == pytest.approx(truth, rel=0.05)
    assert np.var(means) == pytest.approx(truth, rel=0.12)
    assert np.mean(naive) < 0.75 * truth


def test_interval_over_splits_is_that_of_their_means() -> None:
    values = np.random.default_rng(1).normal(3, 2, 10)
    assert interval(values, 0.9, splits=5) == interval(values.reshape(5, 2).mean(axis=1), 0.9)
    assert interval(values, 0.9, splits=1) == interval(values, 0.9)


def test_p_of_one_seed_is_unknown() -> None:
    winner, baseline, y = _finals(seeds=1)
    assert math.isnan(paired_bootstrap(winner, baseline, y, "balanced_accuracy", draws=100, seed=1).p(100))
    winner, _, y = _finals()
    assert paired_bootstrap(winner, winner, y, "rmse", draws=100, seed=1).p(100) == 1.0
