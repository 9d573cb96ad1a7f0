"""A mean loss that few rows carry is said to be one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from regsearch.analysis.concentration import carried, few_rows
from regsearch.analysis.finals_summary import Candidate


def candidate(**row_losses: Any) -> Candidate:
    one = np.zeros(1)
    return Candidate(1, {}, "", 0.0, one, one, one, one, np.zeros((1, 4)), row_losses=row_losses)


def heavy(rows: int, share: float) -> np.ndarray:
    """Losses of which the first hundredth of the rows carry that share."""
    few = rows // 100
    losses = np.full(rows, (1 - share) / (rows - few))
    losses[:few] = share / few
    return losses


def test_few_rows_are_said_to_carry_the_loss() -> None:
    winner, baseline = candidate(validation=heavy(300, 0.93), test=heavy(2000, 0.2)), candidate()
    line = "3 of 300 validation rows carry 93 % of the winner's validation loss: which setting won hangs on them"
    assert few_rows(winner, baseline) == [line]
    baseline = candidate(validation=heavy(300, 0.4), test=heavy(2000, 0.6))
    both = [line, "20 of 2,000 test rows carry 60 % of the baseline's test loss: the optimism hangs on them"]
    assert few_rows(winner, baseline) == both
    same = candidate(test=heavy(100, 0.75))
    one = (
        "1 of 100 test rows carries 75 % of the winner's and 75 % of the baseline's test loss: the optimism hangs on it"
    )
    assert few_rows(same, same) == [one]


def test_nothing_is_said_of_ordinary_losses() -> None:
    assert few_rows(candidate(), candidate()) == []
    plain = candidate(validation=np.random.default_rng(0).exponential(size=500), test=heavy(400, 0.5))
    assert few_rows(plain, plain) == []
    assert few_rows(candidate(test=heavy(100, 0.9)[:99]), plain) == [], "one row of fewer than a hundred is not few"


@pytest.mark.parametrize("losses", [np.zeros(200), np.full(200, math.nan), [math.inf] * 200, []])
def test_losses_that_have_no_share(losses: Any) -> None:
    assert carried(losses)[1] == 0
