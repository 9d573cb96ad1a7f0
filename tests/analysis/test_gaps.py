from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from regsearch.analysis.gaps import by_regularizers, regularizer_sets
from regsearch.errors import UserError
from tests.analysis.trials import STRENGTHS, frame


def test_sets_are_what_is_on() -> None:
    trials = frame(4)
    trials.loc[3, "clip_by_norm.max_norm"] = np.inf
    assert list(regularizer_sets(trials, STRENGTHS)) == [
        "none",
        "clip_by_norm + dropout + l1",
        "clip_by_norm + dropout + l2",
        "dropout",
    ]


def test_the_declared_regularizers_give_the_same_sets() -> None:
    pd.testing.assert_series_equal(regularizer_sets(frame()), regularizer_sets(frame(), STRENGTHS))


def test_summary_counts_and_takes_complete_trials_only() -> None:
    trials = frame()
    found = by_regularizers(trials, STRENGTHS)
    assert found["trials"].sum() == 60
    assert (found["complete"].sum(), found["pruned"].sum(), found["failed"].sum()) == (44, 15, 1)
    name = "clip_by_norm + dropout + l2"
    chosen = trials[(trials["number"] % 3 == 2) & (trials["state"] == "COMPLETE")]
    row = found.loc[name]
    best = chosen.loc[chosen["val_loss"].idxmin()]
    assert row["best_number"] == best["number"] and row["best_gap"] == best["gap"]
    assert row["median_gap"] == pytest.approx(chosen["gap"].median())
    assert row["high_gap"] == pytest.approx(np.quantile(chosen["gap"], 0.9))
    assert found["best_val_loss"].is_monotonic_increasing


def test_a_set_without_a_complete_trial_comes_last_and_without_numbers() -> None:
    trials = frame(12)
    trials.loc[trials["number"] % 3 == 1, "state"] = "PRUNED"
    found = by_regularizers(trials, STRENGTHS)
    assert found.index[-1] == "clip_by_norm + dropout + l1"
    assert pd.isna(found["best_number"].iloc[-1]) and np.isnan(found["median_gap"].iloc[-1])


def test_a_column_of_sets_is_used_and_a_missing_one_is_named() -> None:
    trials = frame().assign(regularizers="all")
    assert list(by_regularizers(trials).index) == ["all"]
    with pytest.raises(UserError, match="lacks gap"):
        by_regularizers(trials.drop(columns="gap"))
