"""What mattered, on trials of which it is known."""

from __future__ import annotations

import json
import time

import numpy as np
import pandas as pd
import pytest

from regsearch.analysis.encoding import MARGIN, columns
from regsearch.analysis.importance import importance
from regsearch.errors import UserError
from tests.analysis.planted import STRENGTHS, planted
from tests.analysis.trials import frame


@pytest.mark.parametrize("choose", ["any", "one"])
def test_the_knob_that_matters_is_found_for_the_loss_and_another_for_the_gap(choose: str) -> None:
    found = importance(planted(choose=choose), STRENGTHS)
    assert found.trials == 200
    assert next(iter(found.loss)) == "l2.strength" and found.loss["l2.strength"] > 0.6
    assert max(found.gap, key=found.gap.__getitem__) == "dropout.p" and found.gap["dropout.p"] > 0.6
    idle = ("clip_by_norm.max_norm", "clip_by_norm.max_norm.schedule", "train.learning_rate")
    assert all(found.loss[name] < 0.2 for name in idle)
    for shares in (found.loss, found.gap):
        assert sum(shares.values()) == pytest.approx(1) and min(shares.values()) >= 0


def dangerous(count: int = 300) -> pd.DataFrame:
    """L2 ruins the training above 0.1 and does nothing below; all that dropout does is worth .01."""
    random = np.random.default_rng(3)
    l2, p = 10 ** random.uniform(-4, 0, count), random.uniform(0, 0.8, count)
    loss = np.where(l2 > 0.1, 2.3, 0.3) + 0.01 * (p - 0.4) ** 2 / 0.16
    return planted(count).assign(**{"l2.strength": l2, "dropout.p": p, "val_loss": loss})


def test_what_tells_the_best_apart_is_not_what_moves_the_loss() -> None:
    measured = importance(dangerous(), STRENGTHS)
    assert measured.loss["dropout.p"] > 0.8 > 0.1 > measured.loss["l2.strength"], "all of the best are below 0.1"
    assert measured.moves["l2.strength"] > 0.9 and measured.moves["dropout.p"] < 0.02
    assert list(measured.moves) == list(measured.loss)
    (harm,) = measured.ruins
    assert harm.name == "l2.strength" and harm.above and 0.08 < harm.value < 0.13
    assert harm.words() == f"l2.strength above {harm.value:.2g} ruins the loss: 2.3, and 0.303 at its best"


def test_a_clip_ruins_below_a_value_and_an_even_rise_ruins_nothing() -> None:
    trials = dangerous()
    norm = 10 ** np.random.default_rng(5).uniform(-2, 1, len(trials))
    noise = 0.05 * np.random.default_rng(6).standard_normal(len(trials))
    trials = trials.assign(**{"clip_by_norm.max_norm": norm, "val_loss": np.where(norm < 0.1, 2.0, 0.4) + noise})
    (harm,) = importance(trials, STRENGTHS).ruins
    assert harm.name == "clip_by_norm.max_norm" and not harm.above and 0.08 < harm.value < 0.13
    assert importance(trials.assign(val_loss=np.log10(norm) + noise), STRENGTHS).ruins == []
    assert importance(trials.assign(val_loss=1 + noise), STRENGTHS).ruins == []


def test_main_effects_are_shares_of_the_variance() -> None:
    random = np.random.default_rng(1)
    trials = planted(400)
    for name in ("l2.strength", "dropout.p"):
        trials[name] = random.uniform(0.001, 0.8, len(trials))
    a, b = (trials[name] - 0.4 for name in ("l2.strength", "dropout.p"))
    moves = importance(trials.assign(val_loss=2 * a + b), STRENGTHS).moves
    assert moves["l2.strength"] == pytest.approx(0.8, abs=0.05) and moves["dropout.p"] == pytest.approx(0.2, abs=0.05)
    product = importance(trials.assign(val_loss=a * b), STRENGTHS).moves
    assert max(product.values()) < 0.3, "a product has no main effect"
    words = planted(200).assign(val_loss=lambda t: (t["clip_by_norm.max_norm.schedule"] == "cosine") * 1.0)
    assert importance(words, STRENGTHS).moves["clip_by_norm.max_norm.schedule"] > 0.5


def test_curves_have_the_planted_shape() -> None:
    curves = {each.name: each for each in importance(planted(), STRENGTHS).dependence}
    l2 = curves["l2.strength"]
    assert l2.log and l2.x == sorted(l2.x) and 3e-4 < l2.x[int(np.argmin(l2.loss))] < 3e-3
    assert l2.off_loss is not None and l2.off_loss > max(l2.loss)
    dropout = curves["dropout.p"]
    assert not dropout.log and dropout.gap[0] - dropout.gap[-1] == pytest.approx(0.4, abs=0.06)
    assert np.ptp(dropout.loss) < 0.1 * np.ptp(l2.loss)
    assert curves["train.learning_rate"].off_loss is None
    assert "clip_by_norm.max_norm.schedule" not in curves
    assert len(l2.seen_x) == len(l2.seen_loss) == len(l2.seen_gap) == planted()["l2.strength"].notna().sum()


def test_what_adds_up_does_not_interact_and_a_product_does() -> None:
    random = np.random.default_rng(1)
    trials = planted(300)
    for name in ("l2.strength", "dropout.p"):
        trials[name] = random.uniform(0.001, 0.8, len(trials))
    a, b = (trials[name] - 0.4 for name in ("l2.strength", "dropout.p"))
    added = importance(trials.assign(val_loss=a + b), STRENGTHS).interaction
    product = importance(trials.assign(val_loss=a * b), STRENGTHS).interaction
    assert added is not None and product is not None
    assert {product.one, product.other} == {"l2.strength", "dropout.p"}
    assert added.h < 0.25 < 0.7 < product.h <= 1
    assert np.shape(product.loss) == (len(product.x), len(product.y))


def test_regularizers_that_are_never_on_together_do_not_interact_and_do_not_blur_each_other() -> None:
    trials = planted(300, "one")
    trials = trials.drop(columns=["train.learning_rate"])
    found = importance(trials, STRENGTHS)
    assert found.interaction is None
    dropout = next(each for each in found.dependence if each.name == "dropout.p")
    assert dropout.loss == pytest.approx([1.5] * len(dropout.loss), abs=0.1)  # L2 is off wherever dropout is on


def test_the_flat_encoding_puts_off_outside_the_range_on_its_own_side() -> None:
    by_name = {column.name: column for column in columns(planted(), STRENGTHS)}
    l2, clip = by_name["l2.strength"], by_name["clip_by_norm.max_norm"]
    assert (l2.off, clip.off) == (-MARGIN, 1 + MARGIN)
    assert l2.at[0] == l2.off and not l2.on[0] and l2.everywhere and clip.everywhere
    middle = l2.value(0.5)
    assert middle == pytest.approx((l2.low * l2.high) ** 0.5)
    assert not by_name["clip_by_norm.max_norm.schedule"].everywhere


def test_a_strength_of_one_value_is_on_or_off() -> None:
    trials = planted().assign(val_loss=lambda each: each["dropout.p"].isna() * 1.0)
    trials["dropout.p"] = trials["dropout.p"].where(trials["dropout.p"].isna(), 0.5)
    found = importance(trials, STRENGTHS)
    assert next(iter(found.loss)) == "dropout.p"
    (curve,) = (each for each in found.dependence if each.name == "dropout.p")
    assert curve.x == [0.5] and curve.off_loss is not None and curve.off_loss - curve.loss[0] > 0.9


def test_too_few_trials_and_no_knob_are_refused_in_words() -> None:
    few = planted(7)
    with pytest.raises(UserError, match="20 complete trials are needed to say what mattered, there are 7"):
        importance(few, STRENGTHS)
    with pytest.raises(UserError, match="there are none"):
        importance(planted().assign(state="PRUNED"), STRENGTHS)
    with pytest.raises(UserError, match="there are 19"):
        importance(planted(20).assign(gap=lambda each: each["gap"].where(each["number"] != 3)), STRENGTHS)
    with pytest.raises(UserError, match="no knob differs"):
        importance(planted()[["number", "state", "val_loss", "gap"]], STRENGTHS)
    with pytest.raises(UserError, match="lacks gap"):
        importance(planted().drop(columns="gap"), STRENGTHS)


def test_pruned_failed_and_final_runs_have_no_say() -> None:
    trials = planted()
    others = planted(50, seed=9).assign(val_loss=0.0, gap=9.0)
    mixed = trials.assign(kind="trial")
    for state, kind in (("PRUNED", "trial"), ("FAIL", "trial"), ("COMPLETE", "final")):
        mixed = pd.concat([mixed, others.assign(state=state, kind=kind)], ignore_index=True)
    assert importance(mixed, STRENGTHS) == importance(trials, STRENGTHS)


def test_the_same_trials_give_the_same_answer_as_plain_json() -> None:
    one, other = (importance(frame(60), None).to_json() for _ in range(2))
    assert one == other
    assert json.loads(json.dumps(one, allow_nan=False)) == one
    turned = frame(60)[frame(60).columns[::-1]]
    assert importance(turned).to_json() == one


def test_equal_losses_give_no_share() -> None:
    found = importance(planted().assign(val_loss=1.0), STRENGTHS)
    assert set(found.loss.values()) == {0.0}


def test_a_thousand_trials_take_less_than_three_seconds() -> None:
    trials = planted(1000)
    importance(planted(30), STRENGTHS)  # imports
    begun = time.perf_counter()
    importance(trials, STRENGTHS)
    assert time.perf_counter() - begun < 3
