"""Mutating a rule makes the conformance checks fail: every deliberately broken copy of every rule is caught."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from functools import partial

import pytest
import torch

from regsearch.core.program import Program
from regsearch.tasks import Classification
from regsearch.testing import PROPERTIES, Rule, check_agreement, mlp_case, residual_case, settings
from tests.regularizers.mutants import MORE_STRENGTHS, STRENGTHS, generated, mutant, with_strength
from tests.regularizers.mutants_by_hand import BY_HAND
from tests.regularizers.reference import reference
from tests.regularizers.rules import FIRST, RULES, some
from tests.regularizers.test_conformance import AGREEMENT, DEFECTS, at_branches


class Bare(Classification):
    """Classification without metrics to trace."""

    metrics_names = ()

    def metrics(self, out: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
        return {}


pytestmark = pytest.mark.slow  # some two hundred programs are traced

# The smallest of all: each mutant traces a program of its own.
CASE = dataclasses.replace(mlp_case((1, 5, 5), rows=16, hidden=(29,)), task=Bare(3))
BRANCHES = dataclasses.replace(residual_case(), task=Bare(3))


def mutants(rule: Rule) -> list[Rule]:
    return generated(rule) + [mutant(rule, name, **methods) for name, methods in BY_HAND.get(rule.name, {}).items()]


def first_failure(rule: Rule) -> str | None:
    """The first property that a rule fails to keep, cheap ones first; None for a rule that keeps them all."""
    chosen, case = some(rule) or settings(rule, drawn=1), BRANCHES if at_branches(rule) else CASE
    checks: dict[str, Callable[[], None]] = {
        name: partial(PROPERTIES[name], rule, case, chosen) for name in ("declaration", "off", "slope")
    }
    checks[AGREEMENT] = partial(check_agreement, rule, reference, case, chosen)
    checks["nan_neighbour"] = partial(PROPERTIES["nan_neighbour"], rule, case, chosen)
    for name, check in checks.items():
        try:
            check()
        except AssertionError as error:
            assert rule.name in str(error)
            # A mutant that merely crashes proves nothing, but for the one that no pack can train.
            assert isinstance(error.__cause__, AssertionError) or rule.__name__.endswith("global_noise"), error
            return name
    return None


def _rules() -> list[object]:
    known = {name: reason for (keeps, name), reason in DEFECTS.items() if keeps == AGREEMENT}
    return [
        pytest.param(
            rule,
            id=name,
            marks=[
                *([pytest.mark.xfail(reason=f"no control: {known[name]}", strict=True)] if name in known else []),
                *([] if name in FIRST else [pytest.mark.sweep]),
            ],
        )
        for name, rule in RULES.items()
    ]


@pytest.mark.parametrize("rule", _rules())
def test_every_mutant_is_caught_and_the_rule_itself_is_not(rule: Rule) -> None:
    assert first_failure(rule) is None, "the control: what is said of mutants must not be true of the rule"
    caught = {each.__name__: first_failure(each) for each in mutants(rule)}
    assert [name for name, failure in caught.items() if failure is None] == []


def test_every_rule_has_mutants_of_its_own() -> None:
    assert set(BY_HAND) == set(RULES)


@pytest.mark.parametrize(
    ("name", "broken", "keeps"),
    [
        ("l2", "never_off", "off"),
        ("l2", "never_off", "baseline"),
        ("l2", "ignored", "acts"),
        ("l2", "baked_in", "baseline"),
        ("l2", "by_width", "alone"),
        ("dropout", "by_width", "alone"),
        ("dropout", "counts_calls", "alone"),
        ("l2", "by_slot", "permuted"),
        ("dropout", "by_slot", "permuted"),
        ("label_smoothing", "leaks_nan", "nan_neighbour"),
        ("dropout", "leaks_nan", "nan_neighbour"),
    ],
)
def test_each_property_catches_by_itself_what_breaks_it(name: str, broken: str, keeps: str) -> None:
    rule = with_strength(RULES[name], broken, (STRENGTHS | MORE_STRENGTHS)[broken])
    with pytest.raises(AssertionError, match=rf"{name} \(.*{broken}\)"):
        PROPERTIES[keeps](rule, CASE)


def test_a_slope_that_is_not_the_derivative_is_caught() -> None:
    for name in ("penalty_doubled", "slope_of_l2"):
        with pytest.raises(AssertionError, match="the slope is the derivative"):
            PROPERTIES["slope"](mutant(RULES["l1"], name, **BY_HAND["l1"][name]))


def test_a_program_that_traces_anew_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    count = itertools.count()
    monkeypatch.setattr(Program, "traces", property(lambda program: next(count)))
    with pytest.raises(AssertionError, match=r"l2 .*new strengths retrace nothing"):
        PROPERTIES["retraces"](RULES["l2"], CASE)


@pytest.mark.parametrize(
    ("field", "value"), [("source", None), ("__doc__", ""), ("name", "elTwo"), ("knobs", ()), ("site", "nowhere")]
)
def test_an_incomplete_declaration_is_caught(field: str, value: object) -> None:
    broken = mutant(RULES["l2"], "incomplete")
    setattr(broken, field, value)
    with pytest.raises(AssertionError, match="the declaration is complete"):
        PROPERTIES["declaration"](broken)
