"""Winner against baseline, and against others: from what finals measured to what may be claimed.

Legend: S paired seeds (of each split, one after the other), N test rows, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from regsearch.analysis.bootstrap import Grid
from regsearch.analysis.finals_form import check_finals
from regsearch.analysis.statistics import Contrast, Interval, holm, interval, metric_interval, number, paired_bootstrap
from regsearch.errors import UserError
from regsearch.system.documents import FROM_A_COPY
from regsearch.system.files import JsonMapping, JsonObject

NO_TRIAL = -1
SUMMARY = "the summary of finals"


@dataclass(frozen=True)
class Candidate:
    """What finals measured for one setting; entry s of every array belongs to the same seed in all candidates.

    Args:
        number: the trial's number; 0 is the baseline, `NO_TRIAL` a setting that the search did not try.
        params: the setting, active knobs by flat name.
        label: the setting in words, as in "L2 λ=0.003" or "without regularization".
        selected: the validation loss that the search selected on, that of the trial itself; NaN where it has none.
        train_loss, val_loss, test_loss: [S], data loss of each final.
        train_metric: [S], the task's metric on the training split.
        predictions: on the test rows, [S, N] labels or values, or [S, N, C] class scores.
        more: further measures on the test rows by name, means over seeds; they are shown, and decide nothing.
        row_losses: the loss of each row [N] of a part of the data, means over seeds; empty where it is not known.
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
    row_losses: Mapping[str, ArrayLike] = field(default_factory=dict)


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

    def to_json(self) -> JsonObject:
        """Give the summary as plain JSON."""
        means = {"val_loss": number(self.val_loss), "train_metric": number(self.train_metric)}
        spans = {"test_metric": self.test_metric.to_json(), "gap": self.gap.to_json()}
        params = {name: v if isinstance(v, str) else number(v) for name, v in self.params.items()}
        more = {"more": {name: number(value) for name, value in self.more.items()}} if self.more else {}
        trial = None if self.number == NO_TRIAL else self.number
        return {"number": trial, "label": self.label, "params": params, **means, **spans, **more}

    @classmethod
    def from_json(cls, data: JsonMapping) -> CandidateSummary:
        """Read a candidate that `to_json` wrote."""
        val_loss, train_metric = (
            math.nan if data[name] is None else data[name] for name in ("val_loss", "train_metric")
        )
        test_metric, gap = (Interval.from_json(data[name]) for name in ("test_metric", "gap"))
        params = {name: math.inf if value is None else value for name, value in data["params"].items()}
        more = {name: math.nan if value is None else value for name, value in (data.get("more") or {}).items()}
        trial = NO_TRIAL if data["number"] is None else data["number"]
        return cls(trial, data["label"], params, val_loss, train_metric, test_metric, gap, more)


@dataclass(frozen=True)
class Other:
    """Another candidate of the finals, and the winner against it: secondary, whatever it shows.

    Args:
        role: what the candidate stands for: `runner_up`, `single` (the best trial with a single regularizer) or
            `default` (what people set without a search).
        contrast: winner - this candidate; its `p_better` is the winner's.
        p, p_adjusted: of no difference, two-sided, alone and by Holm's correction over all others; NaN with one seed.
    """

    role: str
    summary: CandidateSummary
    contrast: Contrast
    p: float
    p_adjusted: float

    def to_json(self) -> JsonObject:
        """Give the comparison as plain JSON."""
        tested = {"contrast": self.contrast.to_json(), "p": number(self.p), "p_adjusted": number(self.p_adjusted)}
        return {"role": self.role, **self.summary.to_json(), **tested}

    @classmethod
    def from_json(cls, data: JsonMapping) -> Other:
        """Read the comparison that `to_json` wrote."""
        p, adjusted = (math.nan if data[name] is None else data[name] for name in ("p", "p_adjusted"))
        summary, contrast = CandidateSummary.from_json(data), Contrast.from_json(data["contrast"])
        return cls(data["role"], summary, contrast, p, adjusted)


@dataclass(frozen=True)
class FinalsSummary:
    """What finals say.

    Args:
        contrast: the one confirmatory contrast, winner - baseline on the test rows.
        optimism: (test loss - selected validation loss) of the winner minus the same of the baseline, mean over seeds
            and interval over them; positive: the search's own numbers flatter the winner.
        same: the winner is the baseline itself, or has its setting.
        left_out: seeds left out, for both candidates, because a final diverged.
        others: the other candidates, each against the winner.
        splits: how many cuts of training and validation the seeds were trained on.
        missing: what the finals lack and why, a line each.
    """

    winner: CandidateSummary
    baseline: CandidateSummary
    contrast: Contrast
    optimism: Interval
    same: bool
    left_out: int
    others: tuple[Other, ...] = ()
    splits: int = 1
    missing: tuple[str, ...] = ()

    @property
    def claim(self) -> bool:
        """Whether the interval of the difference favours the winner as a whole."""
        return self.contrast.claim

    @property
    def p_better(self) -> float:
        """The share of bootstrap draws in which the winner is better."""
        return self.contrast.p_better

    def to_json(self) -> JsonObject:
        """Give the summary as plain JSON."""
        candidates = {"winner": self.winner.to_json(), "baseline": self.baseline.to_json()}
        decided = {"p_better": number(self.p_better), "claim": self.claim}
        rest = {"contrast": self.contrast.to_json(), "optimism": self.optimism.to_json()}
        more = {"others": [each.to_json() for each in self.others], "splits": self.splits, "missing": [*self.missing]}
        return {**candidates, **decided, **rest, "same": self.same, "left_out": self.left_out, **more}

    @classmethod
    def from_json(cls, data: JsonMapping, file: str | Path = SUMMARY, mend: str = FROM_A_COPY) -> FinalsSummary:
        """Read the summary that `to_json` wrote, with its sentence or without; other fields are refused.

        Args:
            file: it stands in, named in what is refused.
            mend: what to do about the file where it is damaged.

        Raises:
            UserError: it has another field, lacks one, or has one of another type.
        """
        check_finals(data, mend, file)
        winner, baseline = (CandidateSummary.from_json(data[name]) for name in ("winner", "baseline"))
        contrast, optimism = Contrast.from_json(data["contrast"]), Interval.from_json(data["optimism"])
        others = tuple(Other.from_json(each) for each in data.get("others") or ())
        known = cls(winner, baseline, contrast, optimism, data["same"], data["left_out"], others)
        return replace(known, splits=data.get("splits", 1), missing=tuple(data.get("missing") or ()))


def summarize(
    winner: Candidate,
    baseline: Candidate,
    y: ArrayLike,
    metric: str,
    *,
    seed: int,
    draws: int = 10_000,
    level: float = 0.95,
    splits: int = 1,
    others: Sequence[tuple[str, Candidate]] = (),
) -> FinalsSummary:
    """Summarize the finals, on the truth `y` [N] of the test rows.

    Winner - baseline is the one confirmatory contrast. A seed at which either of the two diverged (a loss or prediction
    that is not finite), in any split, is left out for both and counted. A winner that is the baseline gets the
    difference 0, `p_better` 0.5 and no claim. The other contrasts lose the seeds of their own two candidates, and their
    p-values carry Holm's correction; one that has no seed left has no contrast and is left out.

    Args:
        metric: `balanced_accuracy`, `rmse` (predictions and `y` in the target's own units) or `perplexity`.
        seed, draws, level, splits: of the bootstrap; see `statistics.paired_bootstrap`.
        others: role and candidate of whatever else was in the finals.

    Raises:
        UserError: every seed diverged, or shapes do not fit.
    """
    compare = _Comparison(np.asarray(y), metric, seed, draws, level, splits)
    keep = compare.kept(winner, baseline)
    if not keep.any():
        raise UserError("at every seed of the finals a candidate diverged", allowed="lower the learning rate")
    same = winner.number == baseline.number or dict(winner.params) == dict(baseline.params)
    contrast = compare.no_contrast(keep) if same else compare.contrast(winner, baseline, keep)
    losses = [_of(each, keep)["test_loss"] - each.selected for each in (winner, baseline)]
    return FinalsSummary(
        compare.summary(winner, keep),
        compare.summary(baseline, keep),
        contrast,
        interval(losses[0] - losses[1], level, splits),
        same,
        int((~keep).sum()) // splits,
        _others(compare, winner, others, draws),
        splits,
    )


def _others(
    compare: _Comparison, winner: Candidate, others: Sequence[tuple[str, Candidate]], draws: int
) -> tuple[Other, ...]:
    rivals = []
    for role, candidate in others:
        keep = compare.kept(winner, candidate)
        if keep.any():
            contrast = compare.contrast(winner, candidate, keep)
            rivals.append(Other(role, compare.summary(candidate, keep), contrast, contrast.p(draws), math.nan))
    tested = [each.p for each in rivals if not math.isnan(each.p)]
    adjusted = iter(holm(tested))
    return tuple(each if math.isnan(each.p) else replace(each, p_adjusted=next(adjusted)) for each in rivals)


@dataclass(frozen=True)
class _Comparison:
    """How the finals of one study are compared: the truth [N], the metric and the bootstrap's numbers."""

    y: np.ndarray
    metric: str
    seed: int
    draws: int
    level: float
    splits: int

    def kept(self, one: Candidate, other: Candidate) -> np.ndarray:
        """Tell which of the finals [S] count for a pair: those of the seeds at which neither diverged in any split."""
        finite = _finite(one) & _finite(other)
        if finite.size % self.splits:
            raise UserError("every split must have the same seeds", value=self.splits, allowed=f"{finite.size} entries")
        return np.tile(finite.reshape(self.splits, -1).all(axis=0), self.splits)

    def contrast(self, one: Candidate, other: Candidate, keep: np.ndarray) -> Contrast:
        first, second = (np.asarray(each.predictions)[keep] for each in (one, other))
        return paired_bootstrap(first, second, self.y, self.metric, **self._numbers())

    def no_contrast(self, keep: np.ndarray) -> Contrast:
        """Make the contrast of a candidate with itself."""
        return Contrast(self.metric, 0.0, 0.0, 0.0, self.level, 0.5, int(keep.sum()) // self.splits, self.y.size)

    def summary(self, candidate: Candidate, keep: np.ndarray) -> CandidateSummary:
        arrays = _of(candidate, keep)
        return CandidateSummary(
            candidate.number,
            candidate.label,
            dict(candidate.params),
            float(arrays["val_loss"].mean()),
            float(arrays["train_metric"].mean()),
            metric_interval(arrays["predictions"], self.y, self.metric, **self._numbers()),
            interval(arrays["val_loss"] - arrays["train_loss"], self.level, self.splits),
            dict(candidate.more),
        )

    def _numbers(self) -> JsonObject:
        return {"seed": self.seed, "draws": self.draws, "level": self.level, "splits": self.splits}


def per_final(candidate: Candidate, y: ArrayLike, metric: str) -> list[dict[str, float]]:
    """List what each final of a candidate measured on the test rows: `test_loss`, `test_<metric>` and `optimism`, its
    test loss - the validation loss that the search selected on. What is not finite is left out.
    """
    finite, losses = _finite(candidate), np.asarray(candidate.test_loss, dtype=np.float64)
    values = np.full(finite.size, math.nan)
    if finite.any():
        values[finite] = Grid.of([np.asarray(candidate.predictions)[finite]], y, metric, 0).metric()[0]
    measures = [
        {"test_loss": float(loss), f"test_{metric}": float(value), "optimism": float(loss) - candidate.selected}
        for loss, value in zip(losses, values, strict=True)
    ]
    return [{name: value for name, value in each.items() if math.isfinite(value)} for each in measures]


_PER_SEED = ("train_loss", "val_loss", "test_loss", "train_metric")


def _of(candidate: Candidate, keep: np.ndarray) -> JsonObject:
    return {name: np.asarray(getattr(candidate, name))[keep] for name in (*_PER_SEED, "predictions")}


def _finite(candidate: Candidate) -> np.ndarray:
    """Which seeds [S] measured finite numbers only."""
    predictions = np.asarray(candidate.predictions)
    losses = [np.asarray(getattr(candidate, name), dtype=np.float64) for name in _PER_SEED]
    if any(each.shape != predictions.shape[:1] for each in losses):
        shapes = [each.shape for each in (*losses, predictions)]
        raise UserError("a candidate's finals must have one entry per seed in every array", value=shapes)
    finite = np.asarray(np.isfinite(np.stack(losses)).all(axis=0))
    if predictions.dtype.kind == "f":
        finite &= np.isfinite(predictions).reshape(predictions.shape[0], -1).all(axis=1)
    return finite
