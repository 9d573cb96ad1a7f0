"""A grid gives each setting that differs once, in an order that the study's seed alone decides."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from regsearch.config import SearchConfig, build_space, train_knobs
from regsearch.config.training import TRAIN_KNOBS
from regsearch.regularizers import knobs
from regsearch.search.grid import Grid
from regsearch.search.journal import JournalFile
from regsearch.search.optuna import OptunaSearch
from regsearch.space import Choice, Params, Range, SearchSpace, Value, active_regularizers
from regsearch.trial import TrialState
from tests.search.turns import content

STRENGTHS = [knob for knob in knobs().values() if knob.is_strength]
TRAINED = {"train.learning_rate": 1e-3, "train.beta1": 0.9, "train.beta2": 0.999}
SPACES: dict[str, tuple[dict[str, Any], int]] = {
    # a space, and how many settings of its grid are not the baseline
    "dropout": ({"dropout": "search"}, 4),
    "never off": ({"dropout": {"p": {"low": 0.1, "high": 0.5}}}, 5),
    "one value": ({"dropout": {"p": {"low": 0.3, "high": 0.3}}}, 1),
    "only off": ({"dropout": {"p": {"low": 0.0, "high": 0.0}}}, 0),
    "a shape": ({"elastic_net": {"strength": {"low": 0, "high": 0.1, "log": False}, "l1_ratio": "search"}}, 20),
    "a shape alone": ({"elastic_net": {"strength": 0.01, "l1_ratio": "search"}}, 4),
    "a shape of what is off": ({"elastic_net": {"strength": "off", "l1_ratio": "search"}}, 0),
    "schedules": ({"dropout": {"p": {"value": 0.3, "schedule": ["linear", "constant"], "warmup": "search"}}}, 9),
    "two": ({"dropout": "search", "label_smoothing": "search"}, 24),
    "one of": ({"choose": "one", "from": ["l1", "l2"]}, 10),
    "one of, beside": ({"choose": "one", "from": ["l1", "elastic_net"], "dropout": "search"}, (1 + 5 + 25) * 5 - 1),
    "one of, may be off": ({"choose": "one", "from": ["dropout", "l2"]}, 9),
    "any of": ({"choose": "any", "from": ["dropout", "elastic_net"]}, 5 * (1 + 25) - 1),
    "whole numbers": ({"early_stopping": {"patience": {"low": 2, "high": 4}}}, 3),
    "training": ({"train": {"learning_rate": {"low": 1e-4, "high": 1e-2}}, "dropout": "search"}, 24),
}


def space_of(raw: Mapping[str, Any]) -> SearchSpace:
    return build_space(raw, knobs(), train_knobs=train_knobs("adamw"), train=TRAINED)


class Answers:
    """Answers a space's questions, and remembers which ones there were."""

    def __init__(self, answers: Mapping[str, Value]) -> None:
        self.answers = answers

    def categorical(self, name: str, choices: tuple[Value, ...]) -> Value:
        assert self.answers[name] in choices
        return self.answers[name]

    def number(self, of: Range) -> float:
        assert of.low <= float(self.answers[of.name]) <= of.high
        return float(self.answers[of.name])


def effect(params: Params) -> tuple[Any, ...]:
    """What training sees of a setting: what is on, and what differs there from what is declared."""
    on = {*active_regularizers(params, STRENGTHS), "train"}
    defaults = {**{name: knob.default for name, knob in {**knobs(), **TRAIN_KNOBS}.items()}, **TRAINED}
    differs = []
    for name, value in params.items():
        rest = {"schedule": "constant", "warmup": 0.0}.get(name.rpartition(".")[2], defaults.get(name))
        rounded = float(f"{value:.9g}") if isinstance(value, float) else value
        if name.partition(".")[0] in on and rounded != rest:
            differs.append((name, rounded))
    return tuple(sorted(differs))


def brute(space: SearchSpace) -> set[Any]:
    """The effect of each setting that the levels of a small space make, by trying all of them."""
    levels: dict[str, list[Value]] = {}
    for of in space.ranges():
        if isinstance(of, Choice):
            levels[of.name] = list(of.choices)
        elif of.integer:
            levels[of.name] = list(range(int(of.low), int(of.high) + 1))
        elif of.log:
            levels[of.name] = [min(of.high, of.low * (of.high / of.low) ** (k / 4)) for k in range(5)]
        else:
            levels[of.name] = [of.low + (of.high - of.low) * k / 4 for k in range(5)]
    if space.choose == "one":
        levels["regularizer"] = ["none", *space.members]
    elif space.choose == "any":
        levels |= {f"{name}.on": [False, True] for name in space.members}
    cells = itertools.product(*levels.values())
    return {effect(space.sample(Answers(dict(zip(levels, cell, strict=True))))) for cell in cells}


@pytest.mark.parametrize("name", SPACES)
def test_each_setting_that_differs_comes_once_and_the_baseline_never(name: str) -> None:
    raw, size = SPACES[name]
    space = space_of(raw)
    for seed in (0, 1):
        grid = Grid(space, seed)
        effects = [effect(space.sample(Answers(grid.answers(number)))) for number in range(1, grid.size + 1)]
        baseline = effect(space.baseline())
        assert grid.size == size == len(set(effects)) and baseline not in effects
        assert set(effects) == brute(space) - {baseline}
        assert grid.has_baseline == (baseline in brute(space))
        with pytest.raises(IndexError, match="none for trial"):
            grid.answers(size + 1)


def test_layers_of_their_own_are_off_together() -> None:
    space = space_of({"dropout": {"p": {"low": 0.0, "high": 0.4, "per": "layer", "schedule": ["constant", "linear"]}}})
    space = space.over({"dropout.p": ("0", "1")})
    grid = Grid(space, 0)
    effects = {effect(space.sample(Answers(grid.answers(number)))) for number in range(1, grid.size + 1)}
    assert grid.size == len(effects) == (25 - 1) * 2 and grid.has_baseline
    assert effects == brute(space) - {()}


def test_the_order_is_the_seeds_alone() -> None:
    space = space_of(SPACES["one of, beside"][0])
    first, second, other = Grid(space, 3), Grid(space, 3), Grid(space, 4)
    forth = [first.answers(number) for number in range(1, first.size + 1)]
    back = [second.answers(number) for number in range(second.size, 0, -1)]
    assert forth == back[::-1]
    assert forth != [other.answers(number) for number in range(1, other.size + 1)]


def test_a_grid_of_more_cells_than_can_be_counted_is_drawn_from_at_once() -> None:
    layers = tuple(str(k) for k in range(60))
    space = space_of({"l2": {"strength": {"per": "layer"}}}).over({"l2.strength": layers})
    grid = Grid(space, 0)
    assert grid.size == 5**60
    assert len({tuple(grid.answers(number).items()) for number in range(1, 101)}) == 100


@pytest.mark.parametrize(
    ("name", "trials", "words"),
    [
        ("dropout", 5, None),
        ("dropout", 6, "5 settings, the baseline among them, and 6 trials were asked: the search ends after 5"),
        ("never off", 6, None),
        ("never off", 9, "5 settings beside the baseline, and 9 trials were asked: the search ends after 6"),
        ("two", 10, "25 settings, the baseline among them, and 10 trials were asked: a random part of it is tried"),
    ],
)
def test_how_a_grid_fits_the_trials_is_said(name: str, trials: int, words: str | None) -> None:
    assert Grid(space_of(SPACES[name][0]), 0).words(trials) == (words and f"the grid has {words}")


def opened(folder: Path, space: SearchSpace) -> OptunaSearch:
    config = SearchConfig(sampler="grid", pruner="none", seed=3)
    return OptunaSearch("study", space, config, JournalFile(folder / "journal"), ["minimize"], 3)


def test_what_others_told_and_a_kill_change_no_draw(tmp_path: Path) -> None:
    space = space_of(SPACES["one of"][0])
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = opened(tmp_path / "a", space)
    peace = [one.ask().params for _ in range(11)]  # all in flight at once
    for number in range(11):
        two = opened(tmp_path / "b", space)  # one at a time, opened anew, pruned and failed
        assert two.ask().params == peace[number]
        two.tell(number, (TrialState.PRUNED, TrialState.FAIL, TrialState.COMPLETE)[number % 3], float(number))
        two.commit({"turn": number})
    assert [row[3] for row in content(one.study)] == [row[3] for row in content(two.study)]  # Optuna's parameters
    with pytest.raises(IndexError):
        opened(tmp_path / "b", space).ask()
