from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from regsearch.analysis.finals_summary import NO_TRIAL, Candidate, FinalsSummary, per_final, summarize
from regsearch.analysis.statistics import holm, paired_bootstrap
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


def noisy(candidate: Candidate, share: float, seed: int) -> Candidate:
    """The candidate as trial 30, wrong at this share of its rows besides."""
    random = np.random.default_rng(seed)
    predictions = np.asarray(candidate.predictions)
    wrong = random.random(predictions.shape) < share
    return replace(
        candidate, number=30, label="L1 λ=0.1", predictions=np.where(wrong, (predictions + 1) % 10, predictions)
    )


def test_other_contrasts_are_the_same_bootstrap_with_holms_correction() -> None:
    winner, baseline, y = candidates()
    rest = [
        ("runner_up", noisy(winner, 0.004, 1)),
        ("single", noisy(winner, 0.02, 2)),
        ("default", noisy(winner, 0.2, 3)),
    ]
    found = summarize(winner, baseline, y, "balanced_accuracy", seed=1, draws=2000, others=rest)
    alone = summarize(winner, baseline, y, "balanced_accuracy", seed=1, draws=2000)
    assert found.contrast == alone.contrast and found.optimism == alone.optimism, (
        "the others change nothing of the claim"
    )
    p = []
    for (role, candidate), other in zip(rest, found.others, strict=True):
        own = paired_bootstrap(winner.predictions, candidate.predictions, y, "balanced_accuracy", draws=2000, seed=1)
        assert (other.role, other.contrast) == (role, own)
        assert other.p == pytest.approx(max(2 * min(own.p_better, 1 - own.p_better), 1 / 2000))
        p.append(other.p)
    assert [other.p_adjusted for other in found.others] == pytest.approx(holm(p))
    assert found.others[2].p_adjusted == pytest.approx(3 / 2000) and p[0] > 0.05
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert repr(FinalsSummary.from_json(data)) == repr(found)
    keys = {"role", "label", "params", "number", "contrast", "p", "p_adjusted"}
    assert all(keys <= other.keys() for other in data["others"])


def test_p_is_below_5_percent_where_the_interval_leaves_out_0() -> None:
    winner, _, y = candidates()
    for share in (0.002, 0.005, 0.008, 0.012, 0.02):
        other = noisy(winner, share, 4)
        (found,) = summarize(
            winner, other, y, "balanced_accuracy", seed=1, draws=4000, others=[("single", other)]
        ).others
        low, high = found.contrast.low, found.contrast.high
        assert (found.p < 0.05) == (low > 0 or high < 0)


def test_a_candidate_outside_the_search_has_no_number_and_no_optimism() -> None:
    winner, baseline, y = candidates()
    default = replace(noisy(winner, 0.1, 5), number=NO_TRIAL, selected=float("nan"))
    (found,) = summarize(
        winner, baseline, y, "balanced_accuracy", seed=1, draws=50, others=[("default", default)]
    ).others
    assert found.to_json()["number"] is None
    assert {"test_loss", "test_balanced_accuracy"} == set(per_final(default, y, "balanced_accuracy")[0])


def test_what_each_final_measured() -> None:
    winner, _, y = candidates()
    losses = np.array(winner.test_loss)
    losses[4] = np.nan
    found = per_final(replace(winner, test_loss=losses), y, "balanced_accuracy")
    assert found[4] == {}
    right = [np.mean([(winner.predictions[3] == y)[y == label].mean() for label in range(10)])]
    assert found[3]["test_balanced_accuracy"] == pytest.approx(right[0])
    assert found[3]["optimism"] == pytest.approx(losses[3] - winner.selected)


def test_others_lose_only_their_own_seeds() -> None:
    winner, baseline, y = candidates()
    other = noisy(winner, 0.05, 6)
    other = replace(other, val_loss=np.where(np.arange(10) < 4, np.nan, other.val_loss))
    gone = replace(other, val_loss=np.full(10, np.inf))
    rest = [("single", other), ("runner_up", gone)]
    found = summarize(winner, baseline, y, "balanced_accuracy", seed=1, draws=50, others=rest)
    assert found.left_out == 0 and found.contrast.seeds == 10
    assert [each.contrast.seeds for each in found.others] == [6], "one that diverged at every seed has no contrast"


def test_a_seed_that_diverged_on_one_cut_is_left_out_on_all() -> None:
    winner, baseline, y = candidates()
    broken = replace(winner, test_loss=np.where(np.arange(10) == 7, np.nan, winner.test_loss))
    found = summarize(broken, baseline, y, "balanced_accuracy", seed=1, draws=50, splits=2)
    assert (found.left_out, found.contrast.seeds, found.splits) == (1, 4, 2)
    with pytest.raises(UserError, match="every split must have the same seeds"):
        summarize(winner, baseline, y, "balanced_accuracy", seed=1, draws=50, splits=3)
