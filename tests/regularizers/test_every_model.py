"""Every rule on every kind of model: pictures, series and rows of codes beside the MLP of `test_conformance`."""

from __future__ import annotations

import pytest

from regsearch.core.pack import Load
from regsearch.core.program import Program
from regsearch.errors import UserError
from regsearch.regularizers import SITES, page
from regsearch.testing import CASES, PROPERTIES, WHERE, Case, Rule, check_agreement, exclusion, settings, train
from tests.regularizers.reference import reference
from tests.regularizers.rules import FIRST, RULES, cocktail, some

MODELS = ("convnet", "gru", "gru-codes", "transformer")
TRAINED = [check for name, check in PROPERTIES.items() if name not in ("declaration", "off", "slope")]
"""The properties that a model has a part in."""


def applicable(case: Case) -> dict[str, Rule]:
    return {name: rule for name, rule in RULES.items() if exclusion(rule, case) is None}


def start(rules: tuple[Rule, ...], case: Case, *loads: Load) -> None:
    """What a study does with these rules: its checks before the first trial, then these trials to their ends."""
    program = Program(case.build, case.task, rules, case.training)
    program.check(case.data.train_x)
    if loads:
        train(program, case.data, dict(enumerate(loads)), 2)


def agree(chosen: dict[str, Rule], case: Case) -> None:
    setting = {name: value for name, value in cocktail().items() if name.split(".")[0] in chosen}
    check_agreement(tuple(chosen.values()), reference, case, [setting])


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name if name in FIRST else pytest.param(name, marks=pytest.mark.sweep) for name in RULES]
)
@pytest.mark.parametrize(
    "model", [pytest.param("gru-codes", marks=pytest.mark.sweep) if m == "gru-codes" else m for m in MODELS]
)
def test_the_rule_keeps_every_property(model: str, name: str) -> None:
    rule, case = RULES[name], CASES[model]()
    chosen = some(rule) or settings(rule, drawn=0)
    if exclusion(rule, case) is None:
        for check in TRAINED:
            check(rule, case, chosen)
        check_agreement(rule, reference, case, chosen)
    else:
        with pytest.raises(UserError):
            start((rule,), case, Load(0, chosen[0], 5))


@pytest.mark.parametrize("model", MODELS)
def test_one_rule_of_each_site_agrees_with_the_reference(model: str) -> None:
    case = CASES[model]()
    allowed = applicable(case)
    first = {rule.site: name for name, rule in reversed(allowed.items())}
    agree({name: rule for name, rule in allowed.items() if name in first.values()}, case)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_all_rules_at_once_agree_with_the_reference(model: str) -> None:
    case = CASES[model]()
    agree(applicable(case), case)


@pytest.mark.parametrize("model", list(CASES))
def test_a_study_is_refused_where_the_table_says_so_and_only_there(model: str) -> None:
    case = CASES[model]()
    allowed = applicable(case)
    start(tuple(allowed.values()), case)
    for name, rule in RULES.items():
        if name not in allowed:
            with pytest.raises(UserError):
                start((rule,), case, Load(0, settings(rule)[1], 5))


def test_each_row_of_the_table_excludes_something() -> None:
    cases = [build() for build in CASES.values()]
    for subject, where, reason in page.DOES_NOT_APPLY:
        rules = [rule for rule in RULES.values() if subject in (rule.name, rule.site)]
        assert rules and (subject in RULES or subject in SITES)
        assert any(WHERE[where](case) for case in cases)
        assert all(exclusion(rule, case) for rule in rules for case in cases if WHERE[where](case)), reason
