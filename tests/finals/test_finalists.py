"""Who enters the finals, and as what."""

from __future__ import annotations

from typing import Any

import pytest

from regsearch.config import build_space
from regsearch.finals.finalists import choose_finalists
from regsearch.regularizers import knobs, strength_knobs
from regsearch.trial import Trial

STRENGTHS = strength_knobs()
SPACE = {"choose": "any", "from": ["l2", "weight_decay", "dropout"], "clip_by_norm": {"max_norm": 1.0}}
CLIP = {"clip_by_norm.max_norm": 1.0}


def entered(ranked: list[dict[str, Any]], top: int, space: dict[str, Any] = SPACE) -> tuple[list[Any], list[str]]:
    """(number, roles, wins) of each finalist; `ranked` are the settings of trials 1, 2, ..., best first."""
    made = build_space(space, knobs())
    trials = [Trial(number, params, 0) for number, params in enumerate(ranked, 1)]
    baseline = Trial(0, dict(made.baseline()), 0)
    chosen = choose_finalists([*trials, baseline], baseline, made, top, STRENGTHS)
    return [(each.trial.number, each.roles, each.wins) for each in chosen.finalists], list(chosen.missing)


def test_each_kind_enters_once() -> None:
    both = {**CLIP, "l2.strength": 0.1, "dropout.p": 0.2}
    found, missing = entered([both, {**both, "dropout.p": 0.3}, {**CLIP, "l2.strength": 0.2}], top=2)
    assert found == [
        (1, ("runner_up",), True),
        (2, ("runner_up",), True),
        (0, ("baseline",), True),
        (3, ("single",), True),
        (-1, ("default",), False),
    ]
    assert missing == []


def test_one_setting_is_trained_once_and_has_all_its_roles() -> None:
    usual = {**CLIP, "dropout.p": 0.5, "weight_decay.strength": 0.01}
    found, _ = entered([{**CLIP, "l2.strength": 0.2}, dict(CLIP), {**usual, "l2.strength": 0.0}], top=3)
    assert found == [
        (1, ("runner_up", "single"), True),
        (0, ("runner_up", "baseline"), True),
        (3, ("runner_up", "default"), True),
    ]


@pytest.mark.parametrize(
    ("space", "default"),
    [
        ({"choose": "one", "from": ["l2", "dropout"]}, {"dropout.p": 0.5}),
        ({"l2": "search", "dropout": {"p": 0.3}}, None),
        ({"weight_decay": "search", "dropout": {"p": 0.3}}, {"dropout.p": 0.3, "weight_decay.strength": 0.01}),
        ({"l2": "search"}, None),
    ],
)
def test_the_default_is_what_the_program_has_and_the_study_leaves_open(space: Any, default: Any) -> None:
    made = build_space(space, knobs())
    baseline = Trial(0, dict(made.baseline()), 0)
    chosen = choose_finalists([baseline], baseline, made, 1, STRENGTHS)
    assert [each.trial.params for each in chosen.finalists if "default" in each.roles] == ([default] if default else [])
    assert len(chosen.missing) == (1 if default else 2), "there is no single one among no trials"


def test_each_layer_gets_the_default() -> None:
    made = build_space({"weight_decay": {"strength": {"per": "layer"}}}, knobs())
    made = made.over({"weight_decay.strength": ("0", "2")})
    baseline = Trial(0, dict(made.baseline()), 0)
    chosen = choose_finalists([baseline], baseline, made, 1, STRENGTHS)
    assert chosen.finalists[-1].trial.params == {"weight_decay.strength.0": 0.01, "weight_decay.strength.2": 0.01}


def test_roles_once_the_winner_is_known() -> None:
    made = build_space(SPACE, knobs())
    baseline = Trial(0, dict(made.baseline()), 0)
    single = Trial(1, {**CLIP, "l2.strength": 0.2}, 0)
    chosen = choose_finalists([single, baseline], baseline, made, 1, STRENGTHS)
    assert chosen.finalists[0].all_roles(won=True) == ("winner", "single")
    assert chosen.finalists[0].all_roles(won=False) == ("single", "runner_up")
    assert chosen.finalists[1].all_roles(won=True) == ("winner", "baseline")
