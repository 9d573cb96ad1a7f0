from __future__ import annotations

import math
from dataclasses import replace

import pytest

from regsearch.analysis.finals_summary import Other
from regsearch.analysis.finals_words import (
    answer,
    baseline_label,
    decided,
    describe,
    flattery,
    held,
    others,
    sentence,
    skipped,
    table,
)
from regsearch.analysis.statistics import Contrast, Interval
from tests.analysis.finals import summary

LEAD = (
    "On 360 unseen images, the model found (L2 λ=0.003, dropout 0.31) is right in 91.2 % of cases, every class "
    "counting alike, against 88.0 % without regularization: "
)
ERROR = (
    "On 360 unseen rows, the model found (L2 λ=0.003, dropout 0.31) is typically off by {} (root mean square error, in "
    "the units of price) against {} without regularization: "
)


@pytest.mark.parametrize(
    ("difference", "low", "high", "said"),
    [
        (0.032, 0.019, 0.046, "3.2 points better (95 % interval 1.9 to 4.6); the difference holds."),
        (0.008, -0.006, 0.021, "0.8 points better (95 % interval from 0.6 worse to 2.1 better); this may be chance."),
        (-0.004, -0.02, 0.012, "0.4 points worse (95 % interval from 2.0 worse to 1.2 better); this may be chance."),
        (
            -0.032,
            -0.046,
            -0.019,
            "3.2 points worse (95 % interval 1.9 to 4.6 worse); the difference holds, against the model found.",
        ),
        (0.0, -0.012, 0.012, "no difference (95 % interval from 1.2 worse to 1.2 better); this may be chance."),
        # What is not 0 must not read as 0, least of all the end that a claim rests on.
        (0.01, 0.0003, 0.02, "1.00 points better (95 % interval 0.03 to 2.00); the difference holds."),
    ],
)
def test_classification(difference: float, low: float, high: float, said: str) -> None:
    assert sentence(summary(difference=difference, low=low, high=high), "images") == LEAD + said


@pytest.mark.parametrize(
    ("test", "ends", "level", "said"),
    [
        (
            (53.21, 55.93),
            (-2.72, -5.01, -0.41),
            ("53.2", "55.9"),
            "2.7 better (95 % interval 0.4 to 5.0); the difference holds.",
        ),
        (
            (53.21, 53.43),
            (-0.22, -2.0, 1.5),
            ("53.2", "53.4"),
            "0.2 better (95 % interval from 1.5 worse to 2.0 better); this may be chance.",
        ),
        (
            (0.0561, 0.0532),
            (0.0029, 0.001, 0.005),
            ("0.0561", "0.0532"),
            "0.0029 worse (95 % interval 0.0010 to 0.0050 worse); the difference holds, against the model found.",
        ),
        (
            (51234.0, 52345.0),
            (-1111.0, -2000.0, -222.0),
            ("51,234", "52,345"),
            "1,111 better (95 % interval 222 to 2,000); the difference holds.",
        ),
    ],
)
def test_regression(test, ends, level, said: str) -> None:
    made = summary(test=test, metric="rmse", difference=ends[0], low=ends[1], high=ends[2])
    assert sentence(made, target="price") == ERROR.format(*level) + said


def test_winner_is_the_baseline() -> None:
    made = replace(summary(difference=0.0, low=0.0, high=0.0), same=True)
    assert sentence(made, "patients") == (
        "On 360 unseen patients, training without regularization is right in 88.0 % of cases, every class counting "
        "alike; the search found nothing better, so there is no difference to claim."
    )


def test_one_seed_and_seeds_left_out() -> None:
    made = summary(difference=0.032, low=-math.inf, high=math.inf, seeds=1, rows=1)
    assert sentence(made).startswith("On 1 unseen row, ")
    assert sentence(made).endswith(": 3.2 points better, but one seed cannot tell this from chance.")
    made = replace(summary(difference=0.032, low=0.019, high=0.046, seeds=9), left_out=1)
    assert sentence(made).endswith("; the difference holds; 1 of 10 seeds diverged and is left out.")


def test_skipped() -> None:
    assert skipped(200, "L2 λ=0.003", 0.31234, 0.4) == (
        "Finals were skipped, so nothing was tested on unseen data: the best of 200 trials (L2 λ=0.003) reached a "
        "validation loss of 0.312 against 0.4 without regularization, a number that flatters it, because the "
        "search chose by it."
    )
    assert "the best of 1 trial (no regularization) reached a validation loss of 0.5, a" in skipped(1, "", 0.5, None)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, ""),
        ({"l2.strength": 0.0031, "dropout.p": 0.312}, "L2 λ=0.0031, dropout 0.31"),
        ({"elastic_net.l1_ratio": 0.5, "elastic_net.strength": 1.2e-5}, "elastic net λ=1.2e-05 (l1 ratio 0.5)"),
        ({"clip_by_norm.max_norm": 1.5, "train.learning_rate": 0.003}, "clip by norm 1.5, learning rate 0.003"),
        ({"dropout.p": 0.0, "clip_by_norm.max_norm": math.inf}, ""),
        (
            {"l2.strength.0": 1e-5, "l2.strength.2": 0.02, "l2.strength.schedule": "cosine", "l2.strength.warmup": 0.1},
            "L2 λ=1e-05 to 0.02 by layer (schedule cosine, warmup 0.1)",
        ),
        ({"dropout.p.inner": 0.2, "dropout.p.branch": 0.4}, "dropout 0.2 to 0.4 by layer"),
    ],
)
def test_describe(params: dict[str, float], words: str) -> None:
    assert describe(params) == words


def test_baseline_label() -> None:
    assert baseline_label({}) == "without regularization"
    assert baseline_label({"train.learning_rate": 0.01}) == "without regularization"
    assert baseline_label({"dropout.p": 0.3}) == "with dropout 0.3 alone"


def test_table_and_answer_agree_with_the_summary() -> None:
    made = summary(difference=0.032, low=0.019, high=0.046)
    header, rows = table(made)
    assert all(len(row) == len(header) for row in rows)
    cells = {row[0]: row[1:] for row in rows}
    assert cells["trial"][:2] == ("17", "0")
    assert cells["  test"] == ("0.912", "0.880", "+0.032")
    assert cells["  p_better"] == ("", "", "0.90")
    below = [rows[index + 1] for index, row in enumerate(rows) if row[0] in ("  test", "gap to training loss")]
    assert [row[0] for row in below] == ["  95 % interval"] * 2
    assert below[1][3] == "+0.019 to +0.046"
    assert below[0][3] == ""  # no interval is known of the difference of two gaps
    whole = answer(made, "images")
    assert whole["sentence"] == sentence(made, "images")
    assert whole["claim"] is True and whole["p_better"] == 0.9 and whole["winner"]["number"] == 17


def test_the_numbers_of_a_row_share_their_decimals_and_no_difference_reads_as_none() -> None:
    made = summary(difference=0.0003, low=-0.002, high=0.0026, test=(0.95, 0.9497))
    cells = {row[0]: row[1:] for row in table(replace(made, winner=replace(made.winner, train_metric=1.0)))[1]}
    assert cells["  test"] == ("0.9500", "0.9497", "+0.0003")
    assert cells["  training"] == ("1.000", "0.990", "+0.010")
    errors = summary(test=(51234.0, 52345.0), metric="rmse", difference=-1111.0, low=-2000.0, high=-222.0)
    assert {row[0]: row for row in table(errors)[1]}["  test"][1:] == ("51,234", "52,345", "-1,111")


def test_one_seed_has_no_intervals() -> None:
    made = summary(difference=0.032, low=-math.inf, high=math.inf, seeds=1, p_better=math.nan)
    ends = Interval(0.01, -math.inf, math.inf)
    made = replace(made, optimism=ends)
    below = [row for row in table(made)[1] if row[0] == "  95 % interval" and row[3]]
    assert below == [] and all(row[0] != "  p_better" for row in table(made)[1])
    assert flattery(made).startswith("optimism +0.010: ")


@pytest.mark.parametrize(("value", "said"), [(0.039, "+0.039"), (-0.039, "-0.039"), (0.00004, "+0.00004")])
def test_optimism_has_a_sign_and_its_interval(value: float, said: str) -> None:
    made = replace(summary(difference=0.0, low=-0.1, high=0.1), optimism=Interval(value, value - 0.01, value + 0.01))
    assert flattery(made).startswith(f"optimism {said} (95 % interval ")


def test_others_stand_below_with_their_intervals_and_corrected_p() -> None:
    made = summary(difference=0.032, low=0.019, high=0.046)
    contrast = Contrast("balanced_accuracy", 0.012, -0.001, 0.025, 0.95, 0.96, 10, 360)
    runner = replace(made.winner, label="", test_metric=Interval(0.9, 0.88, 0.92))
    sure = replace(contrast, difference=0.1, low=0.09, high=0.11)
    one_seed = replace(contrast, low=-math.inf, high=math.inf, p_better=math.nan)
    rest = (
        Other("runner_up", runner, contrast, 0.08, 0.16),
        Other("default", replace(runner, label="dropout 0.5"), sure, 1e-4, 2e-4),
        Other("single", runner, one_seed, math.nan, math.nan),
    )
    assert others(replace(made, others=rest)) == [
        ("", "setting", "test", "winner - it", "p (Holm)"),
        ("runner-up", "no regularization", "0.900", "+0.012", "0.160"),
        ("  95 % interval", "", "0.880 to 0.920", "-0.001 to +0.025", ""),
        ("library default", "dropout 0.5", "0.900", "+0.100", "<0.001"),
        ("  95 % interval", "", "0.880 to 0.920", "+0.090 to +0.110", ""),
        ("best single", "no regularization", "0.900", "+0.012", ""),
    ]


def test_what_decided_is_said() -> None:
    made = summary(difference=0.032, low=0.019, high=0.046)
    one, other = replace(made.winner, val_loss=0.1312), replace(made.baseline, val_loss=0.158)
    rest = (
        Other("runner_up", replace(made.winner, val_loss=0.1399), made.contrast, 0.08, 0.16),
        Other("default", replace(made.winner, val_loss=0.1301), made.contrast, 0.08, 0.16),
    )
    made = replace(made, winner=one, baseline=other, others=rest)
    against = "0.140 of the runner-up and 0.130 of the library default (which cannot win)"
    assert decided(made) == f"won by validation loss: 0.131 against 0.158 of the baseline, {against}"
    assert (
        decided(replace(made, same=True, others=rest[:1]))
        == "won by validation loss: 0.131 against 0.140 of the runner-up"
    )
    near = replace(made, baseline=replace(other, val_loss=0.13124), others=())
    assert decided(near) == "won by validation loss: 0.13120 against 0.13124 of the baseline"


def test_how_finals_were_held() -> None:
    made = summary(difference=0.032, low=0.019, high=0.046)
    assert held(made) == "finals: 10 fresh seeds each, tested on 360 sealed rows"
    assert "10 fresh seeds each on 5 cuts of training and validation" in held(replace(made, splits=5))
