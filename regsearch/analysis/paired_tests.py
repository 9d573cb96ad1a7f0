"""Statistics of methods across units, which are data sets or seeds: ranks, paired tests, effect sizes, power.

Everything rests on ranks of paired differences (Demsar 2006, "Statistical comparisons of classifiers over multiple data
sets"): a unit counts once, however many test rows it has, and no data set outweighs another by its scale.

Legend: N units, K methods. Scores are turned so that larger is better; a difference above 0 favours the first method.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regsearch.analysis.statistics import Interval, holm
from regsearch.errors import UserError

Array = NDArray[np.float64]
LEVEL, POWER = 0.95, 0.8


@dataclass(frozen=True)
class Pair:
    """Two methods over the units that both have.

    Args:
        first, second: the methods.
        units: how many units.
        better, same, worse: in how many of them the first is so.
        difference: the Hodges-Lehmann estimate of first - second, and its interval.
        effect: the matched-pairs rank-biserial correlation, from -1 (second better everywhere) to 1.
        p: of the exact two-sided Wilcoxon signed-rank test; `p_holm` after Holm's correction over the pairs compared.
        smallest: the smallest `p_holm` that this many units allow.
        needed: units that would show an effect of this size in 80 of 100 repetitions; None where no number would,
            because none is seen.
        seeds: seeds per unit that would do the same with the units at hand, where a unit is a mean over seeds; None
            where none would, or where that is unknown.
    """

    first: str
    second: str
    units: int
    better: int
    same: int
    worse: int
    difference: Interval
    effect: float
    p: float
    p_holm: float
    smallest: float
    needed: int | None
    seeds: int | None = None

    @property
    def holds(self) -> bool:
        """The difference is significant at 5 % after the correction."""
        return self.p_holm <= 1 - LEVEL

    @property
    def powerless(self) -> bool:
        """So few units that no outcome could have been significant."""
        return self.smallest > 1 - LEVEL


def compare_pairs(scores: Mapping[str, Mapping[str, float]]) -> list[Pair]:
    """Compare every pair of methods over the units that both have, in the order given; those without any are left out.

    Args:
        scores: larger is better, by method, then by unit.
    """
    differences: dict[tuple[str, str], Array] = {}
    for one, other in itertools.combinations(scores, 2):
        shared = [unit for unit in scores[one] if unit in scores[other]]
        if shared:
            differences[one, other] = _rounded([scores[one][unit] - scores[other][unit] for unit in shared])
    p = [signed_rank(each)[0] for each in differences.values()]
    return [
        _pair(*names, each, alone, corrected, len(p))
        for (names, each), alone, corrected in zip(differences.items(), p, holm(p), strict=True)
    ]


def _pair(first: str, second: str, d: Array, p: float, p_holm: float, pairs: int) -> Pair:
    counts = (int((d > 0).sum()), int((d == 0).sum()), int((d < 0).sum()))
    smallest = min(1.0, pairs * 2.0 ** (1 - d.size))
    difference, effect = hodges_lehmann(d), signed_rank(d)[1]
    return Pair(first, second, d.size, *counts, difference, effect, p, p_holm, smallest, units_needed(d, pairs=pairs))


def signed_rank(differences: ArrayLike) -> tuple[float, float]:
    """Compute Wilcoxon's exact two-sided signed-rank p-value, and the matched-pairs rank-biserial correlation.

    Zeros are ranked, then dropped (Pratt 1959); tied differences share the mean of their ranks. The null distribution
    is that of all 2^n signs of the ranks at hand, so p is exact with ties and zeros too, where tables and
    `scipy.stats.wilcoxon` fall back on the normal distribution: two tuned methods that settle on the same setting give
    zeros. The correlation is (W+ - W-) / (W+ + W-) (Kerby 2014), 0 where all differences are 0.

    Args:
        differences: [N], finite.

    Raises:
        UserError: no difference, or one that is not finite.
    """
    from scipy.stats import rankdata

    d = _rounded(differences)
    ranks = np.round(2 * rankdata(np.abs(d))).astype(np.int64)
    signed, ranks = d[d != 0] > 0, ranks[d != 0]
    total, positive = int(ranks.sum()), int(ranks[signed].sum())
    if not total:
        return 1.0, 0.0
    tail = float(_null(ranks)[: min(positive, total - positive) + 1].sum())
    return min(1.0, 2 * tail), (2 * positive - total) / total


def _null(ranks: NDArray[np.int64]) -> Array:
    """P(W+ = w) for w from 0 up to the sum of these whole numbers, each counting with probability 1/2."""
    chances = np.zeros(int(ranks.sum()) + 1)
    chances[0] = 1.0
    for rank in ranks:
        moved = np.zeros_like(chances)
        moved[rank:] = chances[: chances.size - rank]
        chances = (chances + moved) / 2
    return chances


def hodges_lehmann(differences: ArrayLike, level: float = LEVEL) -> Interval:
    """Compute the median of the means of all pairs of differences (Walsh averages), and the interval that inverts the
    signed-rank test; infinite ends where there are too few differences for one (below 6 at 95 %).

    Source: Hodges and Lehmann 1963; Hollander and Wolfe 1999, section 3.2 and 3.3.

    Args:
        differences: [N], finite.
    """
    d = _rounded(differences)
    first, second = np.triu_indices(d.size)
    averages = np.sort((d[first] + d[second]) / 2)
    below = np.cumsum(_null(np.arange(1, d.size + 1)))
    cut = int(np.searchsorted(below, (1 - level) / 2, side="right"))  # so many averages lie outside at each end
    middle = float(np.median(averages))
    if cut == 0:
        return Interval(middle, -math.inf, math.inf)
    return Interval(middle, float(averages[cut - 1]), float(averages[-cut]))


def units_needed(differences: ArrayLike, *, pairs: int = 1, level: float = LEVEL, power: float = POWER) -> int | None:
    """Estimate how many units would show an effect of the size seen with this power; None where no effect is seen.

    n = (z_(1 - a/2) + z_power)^2 / (3 (p' - 1/2)^2), a = (1 - level) / pairs, where p' is the chance that the sum of
    two differences is above 0 (Noether 1987, "Sample size determination for some common nonparametric tests"), here
    the share among those seen; and at least so many that n differences of one sign are significant. An effect that is
    estimated from few units is itself uncertain: the number is a guide for the next experiment.

    Args:
        differences: [N], finite.
        pairs: how many pairs are tested together.
    """
    from scipy.special import ndtri

    d = _rounded(differences)
    floor = smallest_units(pairs, level)
    if d.size < 2:
        return floor if d.any() else None
    first, second = np.triu_indices(d.size, 1)
    sums = d[first] + d[second]
    favour = float((sums > 0).mean() + (sums == 0).mean() / 2)
    if favour == 0.5:
        return None
    z = float(ndtri(1 - (1 - level) / pairs / 2) + ndtri(power))
    return max(floor, math.ceil(z**2 / (3 * (favour - 0.5) ** 2)))


def seeds_needed(differences: ArrayLike, noise: float, seeds: int, *, pairs: int = 1) -> int | None:
    """Estimate how many seeds per unit would show the effect seen with the N units at hand; None where no number would.

    The variance of the differences is t + v s / S: t between units, v their noise with the s seeds at hand, S seeds.
    Noether's number is proportional to it for a given effect, so S is where `units_needed` comes down to N.

    Args:
        differences: [N], each a mean over seeds.
        noise: v, the part of a difference's variance that comes from its seeds, mean over units.
        seeds: s.
    """
    d = _rounded(differences)
    needed = units_needed(d, pairs=pairs)
    if needed is None or d.size < max(2, smallest_units(pairs)):
        return None
    if needed <= d.size:
        return seeds
    variance = float(d.var(ddof=1))
    room = variance * d.size / needed - max(variance - noise, 0.0)
    return math.ceil(noise * seeds / room) if room > 0 else None


def smallest_units(pairs: int = 1, level: float = LEVEL) -> int:
    """Compute the least n at which n differences of one sign are significant: pairs * 2 / 2^n <= 1 - level.

    >>> smallest_units(), smallest_units(6)
    (6, 8)
    """
    return math.ceil(math.log2(2 * pairs / (1 - level)) - 1e-9)


def mean_ranks(scores: ArrayLike) -> list[float]:
    """Average each method's rank over units, 1 being the best; equal scores share the mean of their ranks.

    Args:
        scores: [N, K], larger is better.
    """
    return [float(each) for each in _ranks(scores).mean(axis=0)]


def friedman(scores: ArrayLike) -> float:
    """Compute the p-value of Friedman's test that all methods rank alike, in the form of Iman and Davenport (1980).

    F = (N - 1) X / (N (K - 1) - X) with X Friedman's statistic, corrected for ties, on K - 1 and (K - 1)(N - 1)
    degrees of freedom; 1 where no method differs anywhere.

    Args:
        scores: [N, K], larger is better.
    """
    from scipy.special import fdtrc

    ranks = _ranks(scores)
    units, methods = ranks.shape
    if units < 2 or methods < 2:
        return math.nan
    between = units * ((ranks.mean(axis=0) - (methods + 1) / 2) ** 2).sum()
    within = ((ranks - (methods + 1) / 2) ** 2).sum() / (units * (methods - 1))
    if within == 0:
        return 1.0
    statistic = between / within
    rest = units * (methods - 1) - statistic
    if rest <= 1e-9:
        return 0.0
    return float(fdtrc(methods - 1, (methods - 1) * (units - 1), (units - 1) * statistic / rest))


def alike(order: Sequence[str], pairs: Sequence[Pair]) -> list[tuple[int, int]]:
    """Find the longest stretches of `order` within which no pair differs: what a bar joins in a picture of ranks.

    Pairs are judged by their own corrected test, not by a distance of mean ranks, which depends on the other methods
    (Benavoli, Corani and Mangili 2016, "Should we really use post-hoc tests based on mean-ranks?").

    Returns:
        First and last index of each stretch of two or more.
    """
    differ = {frozenset((pair.first, pair.second)) for pair in pairs if pair.holds}
    groups: list[tuple[int, int]] = []
    for start in range(len(order)):
        end = start
        while end + 1 < len(order) and not any(
            frozenset((order[end + 1], each)) in differ for each in order[start : end + 1]
        ):
            end += 1
        if end > start and (not groups or end > groups[-1][1]):
            groups.append((start, end))
    return groups


def _ranks(scores: ArrayLike) -> Array:
    from scipy.stats import rankdata

    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or table.size == 0 or not np.isfinite(table).all():
        raise UserError("ranks need a finite score for every unit and method", value=table.shape)
    return np.asarray(rankdata(np.round(-table, 12), axis=1), dtype=np.float64)


def _rounded(differences: ArrayLike) -> Array:
    """To 12 digits of the largest: what is equal but for rounding errors is a tie."""
    d = np.asarray(differences, dtype=np.float64)
    if d.ndim != 1 or d.size == 0 or not np.isfinite(d).all():
        raise UserError("a paired test needs finite differences, one per unit", value=d.shape)
    largest = float(np.abs(d).max())
    return np.asarray(np.round(d, 12 - math.ceil(math.log10(largest)))) if largest else d
