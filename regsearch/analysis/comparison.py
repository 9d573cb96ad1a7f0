"""Winner against baseline: from what finals measured to what may be claimed.

Legend: S paired seeds, N test rows, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from regsearch.analysis.statistics import Contrast, Interval, interval, metric_interval, number, paired_bootstrap
from regsearch.errors import UserError


@dataclass(frozen=True)
class Candidate:
    """What finals measured for one setting; entry s of every array belongs to the same seed in all candidates.

    Args:
        number: the trial's number; 0 is the baseline.
        params: the setting, active knobs by flat name.
        label: the setting in words, as in "L2 λ=0.003" or "without regularization".
        selected: the validation loss that the search selected on, that of the trial itself.
        train_loss, val_loss, test_loss: [S], data loss of each final.
        train_metric: [S], the task's metric on the training split.
        predictions: on the test rows, [S, N] labels or values, or [S, N, C] class scores.
        more: further measures on the test rows by name, means over seeds; they are shown, and decide nothing.
    """

    number: int
    params: Mapping[str, float | str]
    label: str
    selected: float
    train_loss: ArrayLike
    val_loss: ArrayLike
    test_loss: ArrayLike
    train_metric: ArrayLike
    predictions: ArrayLike
    more: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class CandidateSummary:
    """One candidate's finals in numbers.

    Args:
        val_loss, train_metric: means over seeds.
        test_metric: mean over seeds, its interval over seeds and test rows.
        gap: validation loss - training loss, mean over seeds and its interval over them.
    """

    number: int
    label: str
    params: Mapping[str, float | str]
    val_loss: float
    train_metric: float
    test_metric: Interval
    gap: Interval
    more: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        means = {"val_loss": number(self.val_loss), "train_metric": number(self.train_metric)}
        spans = {"test_metric": self.test_metric.to_json(), "gap": self.gap.to_json()}
        params = {name: v if isinstance(v, str) else number(v) for name, v in self.params.items()}
        more = {"more": {name: number(value) for name, value in self.more.items()}} if self.more else {}
        return {"number": self.number, "label": self.label, "params": params, **means, **spans, **more}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CandidateSummary:
        val_loss, train_metric = (
            math.nan if data[name] is None else data[name] for name in ("val_loss", "train_metric")
        )
        test_metric, gap = (Interval.from_json(data[name]) for name in ("test_metric", "gap"))
        params = {name: math.inf if value is None else value for name, value in data["params"].items()}
        more = {name: math.nan if value is None else value for name, value in data.get("more", {}).items()}
        return cls(data["number"], data["label"], params, val_loss, train_metric, test_metric, gap, more)


@dataclass(frozen=True)
class FinalsSummary:
    """What finals say.

    Args:
        contrast: the one confirmatory contrast, winner - baseline on the test rows.
        optimism: (test loss - selected validation loss) of the winner minus the same of the baseline, mean over seeds
            and interval over them; positive: the search's own numbers flatter the winner.
        same: the winner is the baseline itself, or has its setting.
        left_out: seeds left out, for both candidates, because a final diverged.
    """

    winner: CandidateSummary
    baseline: CandidateSummary
    contrast: Contrast
    optimism: Interval
    same: bool
    left_out: int

    @property
    def claim(self) -> bool:
        return self.contrast.claim

    @property
    def p_better(self) -> float:
        return self.contrast.p_better

    def to_json(self) -> dict[str, Any]:
        candidates = {"winner": self.winner.to_json(), "baseline": self.baseline.to_json()}
        verdict = {"p_better": number(self.p_better), "claim": self.claim}
        rest = {"contrast": self.contrast.to_json(), "optimism": self.optimism.to_json()}
        return {**candidates, **verdict, **rest, "same": self.same, "left_out": self.left_out}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FinalsSummary:
        """The summary that `to_json` wrote; other keys are ignored."""
        winner, baseline = (CandidateSummary.from_json(data[name]) for name in ("winner", "baseline"))
        contrast, optimism = Contrast.from_json(data["contrast"]), Interval.from_json(data["optimism"])
        return cls(winner, baseline, contrast, optimism, data["same"], data["left_out"])


def summarize(
    winner: Candidate,
    baseline: Candidate,
    y: ArrayLike,
    metric: str,
    *,
    seed: int,
    draws: int = 10_000,
    level: float = 0.95,
) -> FinalsSummary:
    """What the finals of `winner` and `baseline` say, on the truth `y` [N] of the test rows.

    A seed at which either candidate diverged (a loss or prediction that is not finite) is left out for both and
    counted. A winner that is the baseline gets the difference 0, `p_better` 0.5 and no claim.

    Args:
        metric: `balanced_accuracy`, `rmse` (predictions and `y` in the target's own units) or `perplexity`.
        seed, draws, level: of the bootstrap; see `statistics.paired_bootstrap`.

    Raises:
        UserError: every seed diverged, or shapes do not fit.
    """
    keep = _finite(winner) & _finite(baseline)
    if not keep.any():
        raise UserError("at every seed of the finals a candidate diverged", allowed="lower the learning rate")
    one, other = (_of(each, keep) for each in (winner, baseline))
    same = winner.number == baseline.number or dict(winner.params) == dict(baseline.params)
    bootstrap = partial(paired_bootstrap, y=y, metric=metric, seed=seed, draws=draws, level=level)
    span = partial(metric_interval, y=y, metric=metric, seed=seed, draws=draws, level=level)
    if same:
        contrast = Contrast(metric, 0.0, 0.0, 0.0, level, 0.5, int(keep.sum()), np.asarray(y).size)
    else:
        contrast = bootstrap(one["predictions"], other["predictions"])
    optimism = (one["test_loss"] - winner.selected) - (other["test_loss"] - baseline.selected)
    summaries = [
        CandidateSummary(
            each.number,
            each.label,
            dict(each.params),
            float(arrays["val_loss"].mean()),
            float(arrays["train_metric"].mean()),
            span(arrays["predictions"]),
            interval(arrays["val_loss"] - arrays["train_loss"], level),
            dict(each.more),
        )
        for each, arrays in ((winner, one), (baseline, other))
    ]
    return FinalsSummary(summaries[0], summaries[1], contrast, interval(optimism, level), same, int((~keep).sum()))


_PER_SEED = ("train_loss", "val_loss", "test_loss", "train_metric")


def _of(candidate: Candidate, keep: Any) -> dict[str, Any]:
    return {name: np.asarray(getattr(candidate, name))[keep] for name in (*_PER_SEED, "predictions")}


def _finite(candidate: Candidate) -> Any:
    """Which seeds [S] measured finite numbers only."""
    predictions = np.asarray(candidate.predictions)
    losses = [np.asarray(getattr(candidate, name), dtype=np.float64) for name in _PER_SEED]
    if any(each.shape != predictions.shape[:1] for each in losses):
        shapes = [each.shape for each in (*losses, predictions)]
        raise UserError("a candidate's finals must have one entry per seed in every array", value=shapes)
    finite = np.isfinite(np.stack(losses)).all(axis=0)
    if predictions.dtype.kind == "f":
        finite &= np.isfinite(predictions).reshape(predictions.shape[0], -1).all(axis=1)
    return finite
