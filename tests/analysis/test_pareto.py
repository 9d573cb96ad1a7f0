"""The Pareto front, against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest

from regsearch.analysis.pareto import front

DOWN = ("minimize", "minimize")


def by_definition(values: np.ndarray) -> set[int]:
    """The points that no other is as good as everywhere and better than somewhere."""
    return {i for i, a in enumerate(values) if not any((b <= a).all() and (b < a).any() for b in values)}


@pytest.mark.parametrize("objectives", [2, 3])
def test_it_is_that_of_the_definition(objectives: int) -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        values = random.random((60, objectives))
        assert set(front(values.tolist(), ("minimize",) * objectives)) == by_definition(values)
        signs = random.choice([-1, 1], objectives)
        directions = ["maximize" if sign < 0 else "minimize" for sign in signs]
        assert set(front((values * signs).tolist(), directions)) == by_definition(values)


def test_of_equal_points_the_earliest_stands_and_of_equal_first_values_the_best_other() -> None:
    assert front([(1, 1), (1, 1), (2, 0), (1, 2), (2, 0)], DOWN) == [0, 2]


def test_one_point_no_point_and_no_number() -> None:
    assert front([], DOWN) == []
    assert front([(3, 4)], DOWN) == [0]
    assert front([(math.nan, 0), (1, 1), (0, math.inf)], DOWN) == [1]
    assert front([(1, 5), (1, 5)], ("minimize", "maximize")) == [0]


def test_the_first_few_are_spread_over_the_front() -> None:
    line = [(k / 10, 1000 * (10 - k) / 10) for k in range(11)]
    assert front(line, DOWN)[:3] == [0, 10, 5]
    assert front(line[::-1], DOWN)[:3] == [10, 0, 5]
