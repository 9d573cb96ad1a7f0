"""Every rule of the registry keeps every property on every model; what does not apply is a table with reasons."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
import torch

from regsearch.regularizers import SITES, Context, Paper, Strength, knob, regularizer
from regsearch.regularizers.activations import Activation
from regsearch.regularizers.base import REGISTRY
from regsearch.regularizers.penalties import ElementwisePenalty
from regsearch.testing import PROPERTIES, Case, Rule, check_agreement, check_all, mlp_case, residual_case
from tests.regularizers.reference import reference
from tests.regularizers.reference_rules import REFERENCES
from tests.regularizers.rules import RULES, cocktail, some

AGREEMENT = "agreement"
EVERY = (*PROPERTIES, AGREEMENT)

# One more model is one more row: its case, the properties that it is to show, and the sites whose rules see it.
ROWS: tuple[tuple[Case, tuple[str, ...], tuple[str, ...]], ...] = (
    (mlp_case((1, 5, 5), "sgd"), EVERY, SITES),
    # Flat inputs are another shape to the rules of batches alone.
    (mlp_case((11,), "sgd"), ("alone", AGREEMENT), ("batches",)),
    # Rules that act at residual branches are tested here, and on no model without.
    (residual_case(), EVERY, ("activations",)),
)
# Where all rules at once are held against the reference: BatchNorm; Adam, and a last batch of its own size.
TOGETHER = (residual_case("batch"), mlp_case((11,), "adamw", rows=40))

NOT_APPLICABLE: dict[tuple[str, str], str] = {
    ("slope", name): "its effect is no sum over single weights, so it gives no slope"
    for name, rule in RULES.items()
    if not issubclass(rule, ElementwisePenalty)
}
"""(property, rule) to the reason why the one says nothing about the other."""

DEFECTS: dict[tuple[str, str], str] = {}
"""(property, rule) to what is known to be wrong; mending it makes the test fail until its row is taken out here."""


def at_branches(rule: Rule) -> bool:
    """Whether the rule needs a model with `Site("residual")`."""
    return rule.marker is not None


def _rows() -> Iterator[object]:
    for name, rule in RULES.items():
        for case, properties, sites in ROWS:
            for each in properties if rule.site in sites else ():
                if (each, name) in NOT_APPLICABLE or at_branches(rule) != bool(case.branches):
                    continue
                known = DEFECTS.get((each, name))
                marks = [pytest.mark.xfail(reason=known, strict=True, raises=AssertionError)] if known else []
                yield pytest.param(rule, case, each, id=f"{name}-{case.name}-{each}", marks=marks)


@pytest.mark.parametrize(("rule", "case", "keeps"), _rows())
def test_the_rule_keeps(rule: Rule, case: Case, keeps: str) -> None:
    if keeps == AGREEMENT:
        check_agreement(rule, reference, case, some(rule))
    else:
        PROPERTIES[keeps](rule, case, some(rule))


def test_every_rule_has_a_reference_and_every_reference_a_rule() -> None:
    assert set(REFERENCES) == set(RULES)


def test_the_tables_name_only_what_exists_and_say_why() -> None:
    for keeps, name in (*NOT_APPLICABLE, *DEFECTS):
        assert keeps in EVERY and name in RULES
    assert all((*NOT_APPLICABLE.values(), *DEFECTS.values()))
    assert {name for keeps, name in NOT_APPLICABLE if keeps == "slope"} == set(RULES) - {"l1", "l2", "elastic_net"}


@pytest.mark.parametrize("case", TOGETHER, ids=lambda case: case.name)
def test_all_rules_at_once_agree_with_the_reference_in_the_order_of_the_training_step(case: Case) -> None:
    faulty = {name for keeps, name in DEFECTS if keeps == AGREEMENT}
    chosen = {
        name: rule for name, rule in RULES.items() if name not in faulty and (case.branches or not at_branches(rule))
    }
    rules = tuple(chosen.values())
    setting = {name: value for name, value in cocktail().items() if name.split(".")[0] in chosen}
    check_agreement(rules, reference, case, [setting])


def test_biases_are_penalized_where_the_study_says_so_and_only_there() -> None:
    rules = tuple(rule for rule in RULES.values() if rule.site in ("penalties", "decay"))
    setting = {name: value for name, value in cocktail().items() if RULES[name.split(".")[0]] in rules}
    case = mlp_case((11,), "sgd")
    with_bias = dataclasses.replace(case, training=dataclasses.replace(case.training, penalize_bias=True))
    check_agreement(rules, reference, with_bias, [setting])
    with pytest.raises(AssertionError, match="agreement with the reference"):
        check_agreement(
            rules, lambda start: reference(dataclasses.replace(start, training=case.training)), with_bias, [setting]
        )


@pytest.fixture
def outsider() -> Iterator[Rule]:
    """A rule that nothing but this file knows, as another package would declare it."""

    class SquashActivations(Activation):
        """Squash hidden activations towards zero: h / (1 + strength * |h|)."""

        source = Paper("Nobody", 2020, "https://example.org/squash")
        strength: Strength = knob(0.1, 2.0, off=0.0, minimum=0.0, unit="share", doc="how hard")

        def activation(self, h: torch.Tensor, ctx: Context) -> torch.Tensor:
            return h / (1 + self.strength * h.abs())

    yield regularizer(SquashActivations)
    del REGISTRY["squash_activations"]


def test_an_outsiders_rule_is_checked_by_the_same_suite(outsider: Rule) -> None:
    check_all(outsider)


def test_a_failure_names_the_rule_and_the_property(outsider: Rule) -> None:
    outsider.activation = lambda self, h, ctx: h + self.strength + 1e-6  # type: ignore[attr-defined]
    with pytest.raises(AssertionError, match=r"squash_activations .*: off is exactly the identity"):
        check_all(outsider)
