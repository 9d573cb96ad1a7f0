"""What each rule of a study costs, as measured."""

from __future__ import annotations

import dataclasses

import pytest

from regsearch.core.cost import Cost, seconds_per_rule
from regsearch.core.program import Program
from regsearch.testing import CASES
from tests.core.packs import RULES


@pytest.fixture(scope="module")
def cost() -> Cost:
    case = CASES["mlp"]()
    training = dataclasses.replace(case.training, epochs=1)

    def build(names: tuple[str, ...]) -> Program:
        return Program(case.build, case.task, tuple(RULES[name] for name in names), training)

    return seconds_per_rule(build, ("l2", "jacobian"), case.data, 4, width=4, compiled=False)


def test_a_second_derivative_costs_more_than_a_sum_of_squares(cost: Cost) -> None:
    assert list(cost.rules) == ["l2", "jacobian"]
    assert cost.step > cost.rules["jacobian"] > cost.rules["l2"]
    assert cost.rules["jacobian"] > 0.1 * cost.step


def test_it_says_how_the_steps_were_taken(cost: Cost) -> None:
    assert (cost.width, cost.compiled) == (4, False)
