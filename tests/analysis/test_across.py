"""Ranks, paired tests and power against published examples, scipy and brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from regsearch.analysis.paired_tests import (
    Pair,
    alike,
    compare_pairs,
    friedman,
    hodges_lehmann,
    mean_ranks,
    seeds_needed,
    signed_rank,
    smallest_units,
    units_needed,
)
from regsearch.analysis.statistics import Interval
from regsearch.errors import UserError

# Demsar 2006, table 6: AUC of C4.5, C4.5+m, C4.5+cf and C4.5+m+cf on 14 data sets. In the last but one the paper ranks
# the third before the fourth, which its three digits do not tell apart: hence 0.9751.
DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ]
)


def test_the_ranks_of_demsar() -> None:
    assert mean_ranks(DEMSAR) == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)


def test_friedman_agrees_with_demsar_and_scipy() -> None:
    """The paper, which leaves ties uncorrected, has X = 9.28 and F = 3.69, p = 0.0197; scipy corrects them too."""
    assert 0.01 < friedman(DEMSAR) < 0.0197
    statistic = stats.friedmanchisquare(*DEMSAR.T).statistic
    assert friedman(DEMSAR) == pytest.approx(stats.f.sf(13 * statistic / (14 * 3 - statistic), 3, 39), rel=1e-9)
    scores = np.random.default_rng(0).random((12, 4)) + np.array([0.0, 0.1, 0.2, 0.3])
    statistic = stats.friedmanchisquare(*scores.T).statistic
    iman_davenport = 11 * statistic / (12 * 3 - statistic)
    assert friedman(scores) == pytest.approx(stats.f.sf(iman_davenport, 3, 33), rel=1e-9)
    assert friedman(np.ones((5, 3))) == 1.0
    assert friedman(np.tile([1.0, 2.0, 3.0], (6, 1))) == 0.0


def test_wilcoxon_on_demsars_pair() -> None:
    """R+ = 93 and R- = 12 with the zeros' ranks split evenly, so 91.5 and 10.5 without them."""
    p, effect = signed_rank(DEMSAR[:, 1] - DEMSAR[:, 0])
    assert effect == pytest.approx((91.5 - 10.5) / (91.5 + 10.5), rel=1e-12)
    assert 0.005 < p < 0.02


def brute_force(d: np.ndarray) -> float:
    ranks = stats.rankdata(np.abs(d))
    ranks, positive = ranks[d != 0], ranks[d > 0].sum()
    sums = np.array([np.dot(signs, ranks) for signs in itertools.product((0, 1), repeat=len(ranks))])
    return min(1.0, 2 * min((sums <= positive + 1e-9).mean(), (sums >= positive - 1e-9).mean()))


@pytest.mark.parametrize("seed", range(4))
def test_p_is_exact(seed: int) -> None:
    random = np.random.default_rng(seed)
    d = random.normal(0.5, 1, 12)
    assert signed_rank(d)[0] == pytest.approx(stats.wilcoxon(d, method="exact").pvalue, rel=1e-12)
    tied = random.integers(-2, 4, 10).astype(float)
    assert signed_rank(tied)[0] == pytest.approx(brute_force(tied), rel=1e-12)
    assert signed_rank(-tied)[1] == -signed_rank(tied)[1]


def test_what_is_equal_but_for_rounding_is_tied() -> None:
    assert signed_rank([0.3 - 0.2, 0.2 - 0.1, -(0.1 - 0.0)]) == signed_rank([1.0, 1.0, -1.0])
    assert signed_rank([0.0, 0.0]) == (1.0, 0.0)


def test_five_units_cannot_be_significant_and_six_can() -> None:
    assert signed_rank(np.arange(1.0, 6))[0] == 2 / 2**5
    assert signed_rank(np.arange(1.0, 7))[0] == 2 / 2**6
    assert hodges_lehmann(np.arange(1.0, 6)) == Interval(3.0, -math.inf, math.inf)
    assert hodges_lehmann(np.arange(1.0, 7)) == Interval(3.5, 1.0, 6.0)


def test_hodges_lehmann_on_a_published_example() -> None:
    """Hollander and Wolfe, table 3.1 (Hamilton depression scale): estimate -0.46, 96 % interval -0.786 to -0.010."""
    before = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
    after = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])
    found = hodges_lehmann(after - before, level=0.96)
    assert found == Interval(*(pytest.approx(each, abs=5e-4) for each in (-0.46, -0.786, -0.010)))


def test_the_interval_inverts_the_test() -> None:
    d = np.random.default_rng(1).normal(0.4, 1, 15)
    found = hodges_lehmann(d)
    for end, inside in ((found.low, 1), (found.high, -1)):
        assert signed_rank(d - (end - inside * 1e-6))[0] <= 0.05 < signed_rank(d - (end + inside * 1e-6))[0]


def test_units_needed_give_the_power_they_promise() -> None:
    """Noether's number for a normal effect of half a standard deviation, and its power by simulation."""
    random = np.random.default_rng(0)
    needed = units_needed(random.normal(0.5, 1, 4000))
    assert needed is not None and 35 <= needed <= 42  # 38.7 with p' = Phi(0.5 sqrt 2)
    found = [signed_rank(random.normal(0.5, 1, needed))[0] <= 0.05 for _ in range(1000)]
    assert 0.77 <= np.mean(found) <= 0.88
    assert units_needed([1.0, -1.0]) is None
    assert units_needed([0.0, 0.0, 0.0]) is None
    assert smallest_units(1) == 6 and units_needed(np.arange(1.0, 4)) == 11


def test_more_seeds_help_as_far_as_seeds_are_the_noise() -> None:
    d = np.array([0.9, 1.4, -0.8, 2.1, 0.2, -1.2, 1.6, 0.4])
    needed, variance = units_needed(d), float(d.var(ddof=1))
    assert needed is not None and needed > d.size
    # Where all of the variance is the seeds', twice the seeds do what twice the data sets do.
    assert seeds_needed(d, variance, 10) == math.ceil(10 * needed / d.size - 1e-9)
    assert seeds_needed(d, 0.0, 10) is None
    more = seeds_needed(d, 0.9 * variance, 10)
    assert more is not None and more > 10 * needed / d.size
    assert seeds_needed(np.arange(1.0, 20), 1.0, 10) == 10  # enough of them already
    assert seeds_needed(d[:5], variance, 10) is None  # five data sets have no power, whatever their seeds


def test_pairs_over_what_both_have_with_holm_over_all() -> None:
    units = [f"set {i}" for i in range(14)]
    scores = {f"m{k}": dict(zip(units, DEMSAR[:, k], strict=True)) for k in range(4)}
    del scores["m3"]["set 0"]
    pairs = compare_pairs(scores)
    assert [(pair.first, pair.second, pair.units) for pair in pairs[:3]] == [
        ("m0", "m1", 14),
        ("m0", "m2", 14),
        ("m0", "m3", 13),
    ]
    first = pairs[0]
    assert (first.better, first.same, first.worse) == (2, 2, 10)
    assert first.p_holm == pytest.approx(min(1.0, 6 * first.p)) or first.p > min(pair.p for pair in pairs)
    assert first.smallest == 6 * 2 / 2**14
    assert compare_pairs({"a": {"x": 1.0}, "b": {"y": 1.0}}) == []


def test_bars_join_what_does_not_differ() -> None:
    def pair(first: str, second: str, p: float) -> Pair:
        return Pair(first, second, 9, 9, 0, 0, Interval(1, 0, 2), 1.0, p, p, 0.001, 9)

    pairs = [pair("a", "b", 0.3), pair("a", "c", 0.01), pair("b", "c", 0.2)]
    assert alike("abc", pairs) == [(0, 1), (1, 2)]
    assert alike("abc", [pair("a", "b", 0.3), pair("a", "c", 0.3), pair("b", "c", 0.3)]) == [(0, 2)]
    assert alike("ab", [pair("a", "b", 0.01)]) == []


@pytest.mark.parametrize("differences", [[], [1.0, math.nan], [[1.0]]])
def test_differences_that_are_none_are_refused(differences: list[float]) -> None:
    with pytest.raises(UserError, match="finite differences"):
        signed_rank(differences)
