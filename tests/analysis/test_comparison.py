from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from regsearch.analysis.comparison import FinalsSummary, summarize
from regsearch.errors import UserError
from tests.analysis.finals import candidates


def test_summary_holds_means_gaps_and_the_contrast() -> None:
    winner, baseline, y = candidates()
    found = summarize(winner, baseline, y, "balanced_accuracy", seed=1, draws=500)
    assert found.winner.val_loss == pytest.approx(np.mean(winner.val_loss))
    assert found.winner.gap.value == pytest.approx(np.mean(np.subtract(winner.val_loss, winner.train_loss)))
    assert found.winner.gap.low < 0.1 < found.winner.gap.high
    assert found.baseline.train_metric == pytest.approx(0.99)
    right = np.mean(winner.predictions == y) - np.mean(baseline.predictions == y)
    assert found.contrast.difference == pytest.approx(right)
    assert found.winner.test_metric.value - found.baseline.test_metric.value == pytest.approx(right)
    assert found.claim and found.p_better > 0.99 and not found.same and found.left_out == 0
    assert found.contrast.seeds == 10 and found.contrast.rows == 360


def test_optimism_is_the_winners_minus_the_baselines() -> None:
    winner, baseline, y = candidates()
    found = summarize(winner, baseline, y, "balanced_accuracy", seed=1, draws=50).optimism
    each = [np.mean(one.test_loss) - one.selected for one in (winner, baseline)]
    assert found.value == pytest.approx(each[0] - each[1])
    assert found.low < 0.05 - 0.02 < found.high


@pytest.mark.parametrize("as_trial", [True, False])
def test_a_winner_that_is_the_baseline_claims_nothing(as_trial: bool) -> None:
    """The same trial, or another one that drew the same setting."""
    _, baseline, y = candidates()
    winner = baseline if as_trial else replace(baseline, number=40)
    found = summarize(winner, baseline, y, "balanced_accuracy", seed=1, draws=50)
    assert found.same and not found.claim and found.p_better == 0.5
    assert (found.contrast.difference, found.contrast.low, found.contrast.high) == (0, 0, 0)


def test_a_diverged_seed_is_left_out_for_both() -> None:
    winner, baseline, y = candidates()
    scores = np.eye(10)[baseline.predictions]
    scores[3, 5] = np.nan
    broken = replace(baseline, predictions=scores, val_loss=np.where(np.arange(10) == 6, np.inf, baseline.val_loss))
    found = summarize(winner, broken, y, "balanced_accuracy", seed=1, draws=50)
    kept = np.delete(np.arange(10), [3, 6])
    assert found.left_out == 2 and found.contrast.seeds == 8
    assert found.winner.val_loss == pytest.approx(np.asarray(winner.val_loss)[kept].mean())
    assert np.isfinite(found.baseline.val_loss)


def test_nothing_finite_is_refused() -> None:
    winner, baseline, y = candidates()
    broken = replace(baseline, test_loss=np.full(10, np.nan))
    with pytest.raises(UserError, match="every seed"):
        summarize(winner, broken, y, "balanced_accuracy", seed=1)
    with pytest.raises(UserError, match="one entry per seed"):
        summarize(winner, replace(baseline, test_loss=np.ones(9)), y, "balanced_accuracy", seed=1)


@pytest.mark.parametrize("seeds", [1, 10])
def test_json_round_trip(seeds: int) -> None:
    winner, baseline, y = candidates(seeds=seeds)
    winner = replace(winner, params={**winner.params, "early_stopping.patience": float("inf")})
    found = summarize(winner, baseline, y, "balanced_accuracy", seed=1, draws=50)
    text = json.dumps(found.to_json(), allow_nan=False)
    assert repr(FinalsSummary.from_json(json.loads(text))) == repr(found)
