"""Intervals and claims from finals: what paired seeds and test rows say about winner and baseline.

Legend: S seeds, N test rows, C classes. The bootstrap itself and the reasons for its form are in `bootstrap`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regsearch.analysis.bootstrap import Grid, corrected_draws
from regsearch.errors import UserError
from regsearch.system.files import JsonMapping, JsonObject


@dataclass(frozen=True)
class Metric:
    """A task's metric: its name, its direction, and the words a person reads."""

    name: str
    higher_is_better: bool
    words: str


_ALL = (
    Metric("balanced_accuracy", True, "balanced accuracy"),
    Metric("rmse", False, "root mean square error"),
    Metric("perplexity", False, "perplexity"),
)
METRICS = {each.name: each for each in _ALL}


def metric_of(name: str) -> Metric:
    """Look up the metric called `name`.

    Raises:
        UserError: no such metric.
    """
    if name not in METRICS:
        raise UserError("no such metric for finals", value=name, allowed="allowed are " + ", ".join(METRICS))
    return METRICS[name]


@dataclass(frozen=True)
class Interval:
    """An estimate and the ends of its interval; infinite ends where the data cannot bound it."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float | None]:
        """Give value and bounds as a list."""
        return {"value": number(self.value), "low": number(self.low), "high": number(self.high)}

    @classmethod
    def from_json(cls, data: JsonMapping) -> Interval:
        """Read the interval that `to_json` wrote."""
        return cls(*_from_json(data, value=math.nan, low=-math.inf, high=math.inf))


@dataclass(frozen=True)
class Contrast:
    """The paired difference winner - baseline in the task's metric on the test rows.

    Args:
        metric: `balanced_accuracy` or `rmse`.
        difference, low, high: winner - baseline in the metric's own units, and its interval.
        level: of the interval.
        p_better: share of bootstrap draws in which the winner is better, ties counting half; NaN with one seed.
        seeds, rows: how many of each the interval rests on.
    """

    metric: str
    difference: float
    low: float
    high: float
    level: float
    p_better: float
    seeds: int
    rows: int

    @property
    def favours_winner(self) -> bool:
        """The difference lies on the winner's side in the metric's direction, however uncertain it is."""
        return self.gain.value > 0

    @property
    def claim(self) -> bool:
        """The whole interval lies on the winner's side of 0."""
        return self.gain.low > 0

    @property
    def gain(self) -> Interval:
        """The difference turned so that positive means the winner is better."""
        if metric_of(self.metric).higher_is_better:
            return Interval(self.difference, self.low, self.high)
        return Interval(0.0 - self.difference, 0.0 - self.high, 0.0 - self.low)

    def p(self, draws: int = 10_000) -> float:
        """Compute the two-sided p-value of no difference by the bootstrap: twice the share of draws on the rarer side.

        Its `draws` are taken with both signs, so it is at least 1 / `draws`; NaN with one seed.
        """
        rarer = min(self.p_better, 1.0 - self.p_better)
        return math.nan if math.isnan(self.p_better) else min(1.0, max(2 * rarer, 1 / draws))

    def to_json(self) -> JsonObject:
        """Give the contrast as plain JSON."""
        numbers = {name: number(getattr(self, name)) for name in ("difference", "low", "high", "p_better")}
        words = {"favours_winner": self.favours_winner, "claim": self.claim, "level": self.level}
        return {"metric": self.metric, **numbers, **words, "seeds": self.seeds, "rows": self.rows}

    @classmethod
    def from_json(cls, data: JsonMapping) -> Contrast:
        """Read the contrast that `to_json` wrote."""
        difference, low, high = _from_json(data, difference=math.nan, low=-math.inf, high=math.inf)
        (p_better,) = _from_json(data, p_better=math.nan)
        return cls(data["metric"], difference, low, high, data["level"], p_better, data["seeds"], data["rows"])


def number(value: float) -> float | None:
    """Convert `value` to what JSON can hold: NaN and infinities become null."""
    return float(value) if math.isfinite(value) else None


def _from_json(data: JsonMapping, **if_null: float) -> list[float]:
    return [other if data[name] is None else float(data[name]) for name, other in if_null.items()]


def paired_bootstrap(
    winner: ArrayLike,
    baseline: ArrayLike,
    y: ArrayLike,
    metric: str,
    seeds_axis: int = 0,
    *,
    draws: int = 10_000,
    seed: int,
    level: float = 0.95,
    splits: int = 1,
) -> Contrast:
    """Bootstrap the paired winner - baseline difference in `metric`, jointly over seeds and test rows.

    Each draw resamples the S seeds and the N rows with replacement, the same for both candidates; the metric is
    averaged over the resampled seeds. Rows are resampled within their class: balanced accuracy is a mean over classes,
    the class counts say nothing about it, and no class can be lost. The draws' spread is corrected for the few seeds
    as the docstring of `bootstrap` says; the interval is the percentile interval of the corrected draws.

    Args:
        winner, baseline: predictions [S, N] (labels; for RMSE values in the target's units) or class scores
            [S, N, C] for the classes 0..C-1; seed s and row n mean the same in both.
        y: the truth, [N].
        metric: `balanced_accuracy` (higher is better), `rmse` or `perplexity` (lower is better; of each row's loss
            in nats, `y` being zeros).
        seeds_axis: where S stands; the rows' axis follows among the rest.
        draws, seed: how many resamples, and the seed they are drawn with.
        level: of the interval.
        splits: S holds the seeds of so many splits, one split's after the other's; see `bootstrap.Grid`.

    Returns:
        The contrast. With one seed the spread over seeds is unknown: infinite interval, `p_better` NaN, no claim.

    Raises:
        UserError: shapes do not fit, a prediction is not finite, no rows, an unknown metric, a level outside (0, 1).
    """
    both, sign = [winner, baseline], [1.0, -1.0]
    estimate, sample, low, high = _bootstrap(both, sign, y, metric, seeds_axis, draws, seed, level, splits)
    shape = np.moveaxis(np.asarray(winner), seeds_axis, 0).shape
    seeds = shape[0] // splits
    if math.isinf(low):
        return Contrast(metric, estimate, low, high, level, math.nan, seeds, shape[1])
    better = sample > 0 if metric_of(metric).higher_is_better else sample < 0
    share = float(better.mean() + (sample == 0).mean() / 2)
    return Contrast(metric, estimate, low, high, level, share, seeds, shape[1])


def metric_interval(
    predictions: ArrayLike,
    y: ArrayLike,
    metric: str,
    seeds_axis: int = 0,
    *,
    draws: int = 10_000,
    seed: int,
    level: float = 0.95,
    splits: int = 1,
) -> Interval:
    """Estimate one candidate's metric, the mean over seeds, with an interval over seeds and test rows.

    Arguments and errors as in `paired_bootstrap`; the ends are kept inside the metric's range.
    """
    estimate, _, low, high = _bootstrap([predictions], [1.0], y, metric, seeds_axis, draws, seed, level, splits)
    if math.isinf(low):
        return Interval(estimate, low, high)
    top = 1.0 if metric_of(metric).higher_is_better else math.inf
    return Interval(estimate, max(low, 0.0), min(high, top))


def _bootstrap(
    predictions: list[ArrayLike],
    sign: list[float],
    y: ArrayLike,
    metric: str,
    seeds_axis: int,
    draws: int,
    seed: int,
    level: float,
    splits: int,
) -> tuple[float, NDArray[np.float64], float, float]:
    """Estimate, draws and percentile interval; the interval is infinite with one seed of one split."""
    _check_level(level)
    grid = Grid.of(predictions, y, metric_of(metric).name, seeds_axis, splits)
    estimate, sample = corrected_draws(grid, np.array(sign), draws, seed)
    if grid.units < 2:
        return estimate, sample, -math.inf, math.inf
    low, high = np.quantile(sample, [(1 - level) / 2, (1 + level) / 2])
    return estimate, sample, float(low), float(high)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise UserError("the level of an interval must lie between 0 and 1", value=level)


def interval(values: ArrayLike, level: float = 0.95, splits: int = 1) -> Interval:
    """Compute the mean of `values` [S], one number per seed, with Student's interval: mean ± t_(S-1) s / sqrt(S).

    For what is known per seed alone (a gap, an optimism). One value has no spread: infinite ends. With several splits,
    one split's seeds after the other's, the numbers are the splits' means.

    Raises:
        UserError: no values, not one axis, or a level outside (0, 1).
    """
    from scipy.special import stdtrit

    x = np.asarray(values, dtype=np.float64)
    _check_level(level)
    if x.ndim != 1 or x.size == 0:
        raise UserError("an interval needs one number per seed", value=x.shape, allowed="give an array [S], S >= 1")
    x = x.reshape(splits, -1).mean(axis=1) if splits > 1 else x
    if x.size == 1:
        return Interval(float(x[0]), -np.inf, np.inf)
    half = float(stdtrit(x.size - 1, (1 + level) / 2) * x.std(ddof=1) / np.sqrt(x.size))
    return Interval(float(x.mean()), float(x.mean()) - half, float(x.mean()) + half)


def holm(p: Sequence[float]) -> list[float]:
    """Adjust p-values for their number by Holm's step-down correction, in the order given.

    The k-th smallest of m becomes max over j <= k of (m - j + 1) p_(j), at most 1 (Holm 1979).

    Raises:
        UserError: a value outside [0, 1].
    """
    values = np.asarray(p, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise UserError("p-values must lie in [0, 1]", value=list(p), allowed="leave out contrasts without one")
    order = np.argsort(values, kind="stable")
    steps = np.maximum.accumulate(values[order] * np.arange(values.size, 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(steps, 1.0)
    return [float(each) for each in adjusted]
