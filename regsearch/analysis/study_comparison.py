"""From the runs of studies to their comparison: of one data set over paired seeds, or of methods over data sets.

A study answers with its winner: the finals with `winner` among their roles (tags `regsearch.role`, the weightiest, and
`regsearch.roles`, all of them), or where there are none those of the baseline.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import pandas as pd

from regsearch.analysis.paired_tests import Pair, compare_pairs, friedman, mean_ranks, seeds_needed
from regsearch.analysis.statistics import METRICS, Interval, interval, metric_of
from regsearch.errors import UserError
from regsearch.space import regularizer_of

METHOD_TAG, DIGEST_TAG = "regsearch.method", "regsearch.digest"
NEEDED = ("train_loss", "val_loss", "gap")


class Runs(Protocol):
    """What a store tells of a study, see `regsearch.tracking.mlflow.runs.StudyRuns`."""

    @property
    def name(self) -> str:
        """The name of the study."""
        ...

    @property
    def params(self) -> Mapping[str, str]:
        """Parameters of its parent run."""
        ...

    @property
    def tags(self) -> Mapping[str, str]:
        """Tags of its parent run."""
        ...

    @property
    def runs(self) -> pd.DataFrame:
        """Its trials and finals, a row each."""
        ...


@dataclass(frozen=True)
class StudySummary:
    """One study in numbers.

    Args:
        study, method: its name, and the method that it tried.
        data, digest: its source and its split.
        complete, pruned, failed: its trials.
        gap: the median over complete trials, and the 10th and 90th percentile.
        best: the lowest validation loss of a complete trial.
        test: the answer's metric on the test rows, mean over the finals' seeds, and its interval over them.
        final_gap: the answer's gap, likewise.
        baseline: the baseline's metric on the test rows; None where it has no finals.
        lost: the answer's finals that failed, and are left out.
        scores: the answer's metric on the test rows by final seed.
    """

    study: str
    method: str
    data: str
    digest: str
    complete: int
    pruned: int
    failed: int
    gap: Interval
    best: float
    test: Interval
    final_gap: Interval
    baseline: float | None
    lost: int
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Comparison:
    """What several studies say together.

    Args:
        unit: what the tests count: `seed` for studies of one data set, else `data set`.
        metric: the task's metric on the test rows, by its name in `statistics.METRICS`.
        studies: in the order given.
        compared: the studies' names (of one data set) or the methods, the best mean rank first.
        scores: the metric by what is compared, then by unit.
        units: the units that all of them have; the ranks are over these.
        ranks: mean ranks, 1 the best; empty where no unit is shared by all.
        p_ranks: of Friedman's test that all rank alike; NaN where there are fewer than two units.
        pairs: every two that share units, the better one first.
        unpaired: every two that share none.
        notes: what else a reader should know, a sentence each.
    """

    unit: str
    metric: str
    studies: tuple[StudySummary, ...]
    compared: tuple[str, ...]
    scores: Mapping[str, Mapping[str, float]]
    units: tuple[str, ...]
    ranks: Mapping[str, float]
    p_ranks: float
    pairs: tuple[Pair, ...]
    unpaired: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]

    @property
    def sign(self) -> float:
        """1 where a higher metric is better, else -1."""
        return 1.0 if metric_of(self.metric).higher_is_better else -1.0


def compare(studies: Sequence[Runs], by: str | None = None) -> Comparison:
    """Compare studies: of one split over the seeds that their finals share, else methods over data sets.

    Args:
        studies: two or more.
        by: the tag or parameter of the parent run that names a study's method; by default the tag `regsearch.method`,
            and where a study has none the regularizers that its trials had on.

    Raises:
        UserError: a study lacks what is compared; different splits of one data set; studies that nothing pairs.
    """
    if len({each.name for each in studies}) < max(2, len(studies)):
        names = [each.name for each in studies]
        raise UserError("nothing to compare", key="NAME", value=names, allowed="name two studies or more, each once")
    metric = _metric(studies)
    summaries = [_summary(each, metric, by) for each in studies]
    _refuse_other_splits(summaries)
    if len({each.digest for each in summaries}) == 1:
        return _over_seeds(summaries, metric)
    return _over_data(summaries, metric)


def _metric(studies: Sequence[Runs]) -> str:
    """The task's metric that all studies tested.

    Raises:
        UserError: names the study that lacks it.
    """
    measured: dict[str, set[str]] = {}
    for each in studies:
        finals = _answer(each)
        measured[each.name] = {name for name in METRICS if finals.get(f"test_{name}", pd.Series()).notna().any()}
        if not measured[each.name]:
            raise _lacks(each.name, "its finals have no metric on the test rows (" + ", ".join(METRICS) + ")")
    shared = set.intersection(*measured.values())
    if not shared:
        texts = [f"{name} by {' and '.join(sorted(each))}" for name, each in measured.items()]
        differing = next(text for text in texts[1:] if text.rpartition(" by ")[2] != texts[0].rpartition(" by ")[2])
        what = f"the studies are judged by different metrics: {texts[0]}, {differing}"
        raise UserError(what, key="NAME", allowed="compare studies of one kind of task")
    return next(name for name in METRICS if name in shared)


def _lacks(study: str, what: str, allowed: str | None = None) -> UserError:
    mend = f"`regsearch study finalize {study}` holds its finals anew"
    return UserError(f"study {study} cannot be compared: {what}", key="NAME", allowed=allowed or mend)


def _answer(study: Runs) -> pd.DataFrame:
    """The finals of a study's answer, failed ones too."""
    runs = study.runs
    finals = runs[runs["kind"] == "final"]
    if finals.empty:
        raise _lacks(study.name, "it has no finals", f"`regsearch study finalize {study.name}` holds them")
    for role in ("winner", "baseline"):
        chosen = _of_role(finals, role)
        if not chosen.empty:
            return chosen
    raise _lacks(study.name, "its finals do not say which is the winner (tag regsearch.role)")


def _of_role(runs: pd.DataFrame, role: str) -> pd.DataFrame:
    finals = runs[runs["kind"] == "final"]
    said = finals["roles"].fillna(finals["role"]).fillna("").astype(str)
    return finals[[role in each.split(",") for each in said]]


def _summary(study: Runs, metric: str, by: str | None) -> StudySummary:
    runs, column = study.runs, f"test_{metric}"
    digest = study.tags.get(DIGEST_TAG)
    if digest is None:
        raise _lacks(study.name, f"its parent run has no tag {DIGEST_TAG}, so its split is unknown", "start it anew")
    trials = runs[runs["kind"] == "trial"]
    complete = trials[trials["state"] == "COMPLETE"]
    gone = [name for name in NEEDED if name not in complete or not complete[name].notna().any()]
    if gone:
        raise _lacks(study.name, f"no complete trial has {' and '.join(gone)}", "start it anew")
    answer = _answer(study)
    good = answer[(answer["state"] == "COMPLETE") & answer[column].notna()]
    if good.empty or "seed" not in good or good["seed"].isna().any():
        raise _lacks(study.name, f"its finals lack {column}" if good.empty else "its finals have no parameter seed")
    baseline = _of_role(runs, "baseline").get(column, pd.Series(dtype=float))
    gaps = complete["gap"].dropna().to_numpy(dtype=float)
    states = trials["state"].value_counts()
    return StudySummary(
        study=study.name,
        method=_method(study, trials, by),
        data=study.params.get("data.source", digest[:8]),
        digest=digest,
        complete=len(complete),
        pruned=int(states.get("PRUNED", 0)),
        failed=int(states.get("FAIL", 0)),
        gap=Interval(*(float(each) for each in np.quantile(gaps, [0.5, 0.1, 0.9]))),
        best=float(complete["val_loss"].min()),
        test=interval(good[column].to_numpy(dtype=float)),
        final_gap=interval(good["gap"].to_numpy(dtype=float)),
        baseline=float(baseline.mean()) if baseline.notna().any() else None,
        lost=len(answer) - len(good),
        scores=dict(zip(_seeds(good), good[column].astype(float), strict=True)),
    )


def _seeds(finals: pd.DataFrame) -> list[str]:
    """What pairs a final with another study's: its seed, and which cut of training and validation it had."""
    splits = finals["split"].fillna(0) if "split" in finals else [0] * len(finals)
    return [
        f"{seed:.0f}" + (f"/{split:.0f}" if split else "") for seed, split in zip(finals["seed"], splits, strict=True)
    ]


def _method(study: Runs, trials: pd.DataFrame, by: str | None) -> str:
    if by is not None:
        method = study.tags.get(by, study.params.get(by))
        if method is None:
            allowed = "--by names a tag or a parameter of the parent runs, like search.sampler"
            raise UserError(f"study {study.name} has no such tag or parameter", key="--by", value=by, allowed=allowed)
        return method
    if METHOD_TAG in study.tags:
        return study.tags[METHOD_TAG]
    tagged = trials["regularizers"].dropna().unique()
    names = {name.strip() for each in tagged for name in str(each).split("+")}
    if not len(tagged):  # recorded by other means: active knobs are parameters by flat name
        names = {regularizer_of(str(name)) for name in trials if "." in str(name) and trials[name].notna().any()}
    return "+".join(sorted(names - {"none", "train"})) or "none"


def _refuse_other_splits(studies: Iterable[StudySummary]) -> None:
    first: dict[str, StudySummary] = {}
    for each in studies:
        known = first.setdefault(each.data, each)
        if known.digest != each.digest:
            what = f"{known.study} and {each.study} split the same data differently, so nothing pairs them"
            allowed = "compare studies whose data sections are the same, or give each split a source of its own"
            raise UserError(what, key="NAME", value=each.data, allowed=allowed)


def _over_seeds(studies: list[StudySummary], metric: str) -> Comparison:
    scores = {each.study: each.scores for each in studies}
    return _compared("seed", metric, studies, scores, _lost(studies))


def _over_data(studies: list[StudySummary], metric: str) -> Comparison:
    scores: dict[str, dict[str, float]] = {}
    of: dict[tuple[str, str], StudySummary] = {}
    for each in studies:
        twin = of.setdefault((each.method, each.data), each)
        if twin is not each:
            what = f"{twin.study} and {each.study} are both {each.method} on {each.data}"
            raise UserError(what, key="NAME", allowed="leave one out, or name its method: tracking: {method: ...}")
        scores.setdefault(each.method, {})[each.data] = each.test.value
    if len(scores) == 1:
        what = f"all studies are of one method, {studies[0].method}, on different data"
        raise UserError(what, key="NAME", allowed="compare two methods or more on each data set")
    if not any(scores[one].keys() & scores[other].keys() for one, other in itertools.combinations(scores, 2)):
        one, other = studies[0], next(each for each in studies if each.method != studies[0].method)
        what = f"no data set pairs the methods: {one.study} learned from {one.data}, {other.study} from {other.data}"
        raise UserError(what, key="NAME", allowed="compare studies of one split, or two methods or more per data set")
    sources = list(dict.fromkeys(each.data for each in studies))
    notes = _lost(studies)
    for source in sources:
        missing = [method for method in scores if source not in scores[method]]
        if missing:
            notes.append(f"{source} is left out of the ranks: it has no study of {', '.join(missing)}.")
    return _with_seeds(_compared("data set", metric, studies, scores, notes), of)


def _compared(
    unit: str,
    metric: str,
    studies: list[StudySummary],
    scores: Mapping[str, Mapping[str, float]],
    notes: list[str],
) -> Comparison:
    sign = 1.0 if metric_of(metric).higher_is_better else -1.0
    units = tuple(each for each in next(iter(scores.values())) if all(each in other for other in scores.values()))
    table = np.array([[sign * scores[name][each] for name in scores] for each in units])
    ranks = dict(zip(scores, mean_ranks(table), strict=True)) if units else {}
    order = sorted(scores, key=lambda name: (ranks.get(name, 0.0), -sign * float(np.mean([*scores[name].values()]))))
    # Ties would pair on chance's side alone, hence turned scores, and the better one first.
    turned = {name: {each: sign * value for each, value in scores[name].items()} for name in order}
    pairs = compare_pairs(turned)
    paired = {(pair.first, pair.second) for pair in pairs}
    return Comparison(
        unit=unit,
        metric=metric,
        studies=tuple(studies),
        compared=tuple(order),
        scores={name: dict(scores[name]) for name in order},
        units=units,
        ranks={name: ranks[name] for name in order if name in ranks},
        p_ranks=friedman(table) if units else math.nan,
        pairs=tuple(pairs),
        unpaired=tuple(pair for pair in itertools.combinations(order, 2) if pair not in paired),
        notes=tuple(notes),
    )


def _with_seeds(comparison: Comparison, of: Mapping[tuple[str, str], StudySummary]) -> Comparison:
    """The same with the number of seeds that would do with the data sets at hand."""
    pairs = []
    for pair in comparison.pairs:
        sources = [each for each in comparison.scores[pair.first] if each in comparison.scores[pair.second]]
        noise, seeds, differences = [], [], []
        for source in sources:
            one, other = of[pair.first, source], of[pair.second, source]
            differences.append(comparison.sign * (one.test.value - other.test.value))
            noise.append(_noise(one.scores, other.scores))
            seeds.append(min(len(one.scores), len(other.scores)))
        known = [each for each in noise if math.isfinite(each)]
        needed = None
        if known:
            needed = seeds_needed(differences, float(np.mean(known)), min(seeds), pairs=len(comparison.pairs))
        pairs.append(replace(pair, seeds=needed))
    return replace(comparison, pairs=tuple(pairs))


def _noise(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """The variance of the difference of two means over seeds; NaN with one seed."""
    shared = [seed for seed in one if seed in other]
    if len(shared) > 1:
        return float(np.var([one[seed] - other[seed] for seed in shared], ddof=1)) / len(shared)
    parts = [float(np.var([*each.values()], ddof=1)) / len(each) for each in (one, other) if len(each) > 1]
    return sum(parts) if len(parts) == 2 else math.nan


def _lost(studies: Iterable[StudySummary]) -> list[str]:
    return [
        f"{each.lost} of the winner's finals of {each.study} failed and {'is' if each.lost == 1 else 'are'} left out."
        for each in studies
        if each.lost
    ]
