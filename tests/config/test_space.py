"""The `space` section against the declared knobs: what it means, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest

from regsearch.config import TRAIN_KNOBS, TrainConfig, build_space, train_knobs
from regsearch.config.yaml12 import read_yaml
from regsearch.errors import UserError
from regsearch.regularizers import all_regularizers, knobs
from regsearch.search.grid import Grid
from regsearch.space import Choice, Range, SearchSpace, Value, active_regularizers


def space(text: str) -> SearchSpace:
    return build_space(read_yaml(text), knobs())


def declared(name: str) -> Range:
    knob = {**knobs(), **TRAIN_KNOBS}[name]
    return Range(name, knob.low, knob.high, knob.log, knob.integer)


class First:
    """Draws one regularizer, the first choice of all else, and the middle of every range."""

    def __init__(self, name: str) -> None:
        self.name = name

    def categorical(self, name: str, choices: tuple[Value, ...]) -> Value:
        return self.name if name == "regularizer" else choices[0]

    def number(self, of: Range) -> float:
        return (of.low + of.high) / 2


class Middle:
    """Draws the last choice and the middle of every range."""

    def categorical(self, name: str, choices: tuple[Value, ...]) -> Value:
        return choices[-1]

    def number(self, of: Range) -> float:
        return (of.low + of.high) / 2


def test_no_space_is_the_default_one() -> None:
    found = build_space(None, knobs())
    assert found.choose == "one"
    assert list(found.members) == ["l1", "l2", "elastic_net", "weight_decay"]
    assert found.members["elastic_net"] == (declared("elastic_net.strength"), declared("elastic_net.l1_ratio"))
    assert found.always == (declared("dropout.p"), declared("clip_by_norm.max_norm"))
    assert found.baseline() == {}


def test_one_of_each_kind_of_entry() -> None:
    found = space(
        """
        choose: any
        from: 
          l1: {strength: {low: 1e-6, high: 1e-2}}
          l2: search
          elastic_net: {strength: , l1_ratio: 0.25}
          max_norm:
        dropout: {p: {low: off, high: 0.6}}
        weight_decay: {strength: {high: 1, log: false}}
        label_smoothing: {epsilon: 0.1}
        clip_by_norm: search
        early_stopping: {patience: off}
        train: {learning_rate: {low: 1e-3}}
        """
    )
    assert found.choose == "any"
    assert found.members == {
        "l1": (Range("l1.strength", 1e-6, 1e-2, log=True),),
        "l2": (declared("l2.strength"),),
        "elastic_net": (declared("elastic_net.strength"),),
        "max_norm": (declared("max_norm.max_norm"),),
    }
    assert found.member_fixed == {"elastic_net": {"elastic_net.l1_ratio": 0.25}}
    assert found.always == (
        Range("dropout.p", 0.0, 0.6),
        Range("weight_decay.strength", 1e-4, 1.0, log=False),
        declared("clip_by_norm.max_norm"),
        Range("train.learning_rate", 1e-3, TRAIN_KNOBS["train.learning_rate"].high, log=True),
    )
    assert found.fixed == {"label_smoothing.epsilon": 0.1, "early_stopping.patience": math.inf}
    setting = found.sample(Middle())
    assert setting["elastic_net.l1_ratio"] == 0.25
    assert found.baseline() == found.fixed
    assert "train" not in found.regularizers()


def test_a_strength_alone_leaves_the_shape_knobs_at_their_defaults() -> None:
    found = space("elastic_net: {strength: search}")
    assert [of.name for of in found.always] == ["elastic_net.strength"]
    assert found.fixed == {}


def test_whole_numbers_stay_whole() -> None:
    assert space("early_stopping: {patience: {low: 2, high: 9}}").always == (
        Range("early_stopping.patience", 2.0, 9.0, integer=True),
    )


@pytest.mark.parametrize(
    ("optimizer", "searched"),
    [
        ("adamw", ["learning_rate", "beta1", "beta2"]),
        ("nesterov", ["learning_rate", "momentum"]),
        ("adagrad", ["learning_rate"]),
    ],
)
def test_training_alone_may_be_searched(optimizer: str, searched: list[str]) -> None:
    found = build_space({"train": "search"}, knobs(), train_knobs=train_knobs(optimizer))
    assert found.always == tuple(declared(f"train.{name}") for name in searched)


def test_trial_0_keeps_the_training_of_the_study() -> None:
    config = TrainConfig(optimizer="momentum", learning_rate=0.05)
    raw = read_yaml("{train: {momentum: {low: 0.5, high: 0.9}, learning_rate: 0.01}, l2: search}")
    found = build_space(raw, knobs(), train_knobs=train_knobs("momentum"), train=config.knobs())
    assert found.baseline() == {"train.learning_rate": 0.01, "train.momentum": 0.9}
    assert found.sample(Middle())["train.momentum"] == 0.7
    assert found.regularizers() == ("l2",)


def test_a_setting_that_the_optimizer_does_not_have_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"^space.train.momentum: unknown knob.*allowed are learning_rate, beta1, beta2"
    ):
        build_space({"train": {"momentum": "search"}}, knobs(), train_knobs=train_knobs("adam"))


@pytest.mark.parametrize("name", sorted(all_regularizers()))
def test_every_regularizer_may_be_searched_chosen_fixed_and_off(name: str) -> None:
    rule = all_regularizers()[name]
    strength = rule.strength_knob.name.partition(".")[2]
    assert [of.name for of in space(f"{name}: search").always] == [knob.name for knob in rule.knobs]
    assert list(space(f"{{choose: one, from: [{name}]}}").members) == [name]
    fixed: dict[str, Any] = {name: {strength: rule.strength_knob.high}, "train": "search"}
    assert build_space(fixed, knobs()).fixed == {rule.strength_knob.name: rule.strength_knob.high}
    assert space(f"{{{name}: {{{strength}: off}}, train: search}}").fixed == {
        rule.strength_knob.name: rule.strength_knob.off
    }


def test_strengths_with_a_schedule_and_of_each_layer() -> None:
    found = space(
        """
        choose: one
        from:
          l2:
            strength: {low: 1e-6, high: 1e-2, schedule: [constant, linear, cosine], warmup: {high: 0.4}, per: layer}
          l1: {strength: {schedule: linear}}
        weight_decay: {strength: {value: 0.1, warmup: 0.3}}
        dropout: {p: {schedule: cosine_down}}
        """
    )
    assert found.members["l2"] == (
        Range("l2.strength", 1e-6, 1e-2, log=True, per_layer=True),
        Choice("l2.strength.schedule", ("constant", "linear", "cosine")),
        Range("l2.strength.warmup", 0.0, 0.4),
    )
    assert set(found.scheduled()) == {"l2.strength", "l1.strength", "weight_decay.strength", "dropout.p"}
    assert found.per_layer() == ("l2.strength",)
    assert found.regularizers() == ("l2", "l1", "dropout", "weight_decay")
    assert found.baseline() == {"weight_decay.strength": 0.1, "weight_decay.strength.warmup": 0.3}
    whole = found.over({"l2.strength": ("0", "encoder.2")})
    assert [of.name for of in whole.members["l2"]] == [
        "l2.strength.0",
        "l2.strength.encoder.2",
        "l2.strength.schedule",
        "l2.strength.warmup",
    ]
    assert whole.per_layer() == ()
    setting = whole.sample(Middle())
    assert setting["dropout.p.schedule"] == "cosine_down"
    assert setting["l1.strength.schedule"] == "linear", "the last choice is drawn, with what is fixed beside it"
    drawn = whole.sample(First("l2"))
    assert drawn["l2.strength.schedule"] == "constant"
    assert drawn["l2.strength.warmup"] == 0.2
    strengths = [rule.strength_knob for rule in all_regularizers().values()]
    assert active_regularizers(drawn, strengths) == ("dropout", "l2", "weight_decay")


def test_a_space_that_asks_for_no_schedule_has_none() -> None:
    plain = space("l2: {strength: {low: 1e-6, high: 1e-2, schedule: constant, warmup: 0}}")
    assert plain.scheduled() == plain.per_layer() == ()
    assert space("{train: search, l2: search}").scheduled() == ()


# The section; then the key, the value and what is allowed, as the line must say them.
BAD = [
    ("drpout: search", "drpout", "'drpout'", "(did you mean dropout?)"),
    ("chose: one", "chose", "'chose'", "(did you mean choose?)"),
    ("{choose: one, from: [l7]}", "from", "'l7'", "l1"),
    ("{choose: one, from: {drop: search}}", "from.drop", "'drop'", "(did you mean dropout?)"),
    ("{choose: one, from: [train]}", "from", "'train'", "space.train"),
    ("{choose: one, from: [3]}", "from", "3", "dropout"),
    (
        "{choose: one, from: [{l1: {strength: 0.1}}, l2]}",
        "from",
        "{'l1': {'strength': 0.1}}",
        "like {l1: {...}, l2: search}",
    ),
    ("{choose: one, from: [[l1, l2]]}", "from", "['l1', 'l2']", "names alone"),
    ("{choose: one, from: [none, l1]}", "from", "'none'", "leave it out"),
    ("{choose: one, from: [l1, l1]}", "from", "'l1'", "leave it out"),
    ("{choose: one, from: []}", "from", "[]", "a list of regularizers"),
    ("{choose: one, from: l1}", "from", "'l1'", "a list of regularizers"),
    ("choose: one", "from", "is missing", "a list of regularizers"),
    ("from: [l1]", "choose", "is missing", "one and any"),
    ("{choose: two, from: [l1]}", "choose", "'two'", "one and any"),
    ("{choose: one, from: [l1], l1: search}", "l1", "both in from and beside", "one of the two"),
    ("{choose: one, from: {l1: {strength: off}}}", "from.l1.strength", "'off'", "not off"),
    ("{choose: any, from: {max_norm: {max_norm: .inf}}}", "from.max_norm.max_norm", "'off'", "not off"),
    ("dropout: {prob: 0.3}", "dropout.prob", "'prob'", "allowed is p"),
    (
        "elastic_net: {strength: search, l1_ration: 1}",
        "elastic_net.l1_ration",
        "'l1_ration'",
        "(did you mean l1_ratio?)",
    ),
    ("train: {learning_rat: 1}", "train.learning_rat", "'learning_rat'", "(did you mean learning_rate?)"),
    ("elastic_net: {l1_ratio: 0.3}", "elastic_net", "while it is off", "strength: search"),
    ("dropout: 0.3", "dropout", "0.3", "write {p: 0.3}"),
    ("dropout: off", "dropout", "'off'", "write {p: off}"),
    ("dropout: {}", "dropout", "{}", "a mapping of its knobs (p)"),
    ("dropout: [0.1, 0.5]", "dropout", "[0.1, 0.5]", "a mapping of its knobs (p)"),
    ("dropout: {p: yes}", "dropout.p", "'yes'", "a number, search, off, or {low"),
    ("dropout: {p: true}", "dropout.p", "true", "a number, search, off, or {low"),
    ("dropout: {p: '0.3'}", "dropout.p", "'0.3'", "a number, search, off, or {low"),
    ("dropout: {p: 1.0}", "dropout.p", "1.0", "numbers from 0 to 0.99, or off"),
    ("dropout: {p: -0.1}", "dropout.p", "-0.1", "numbers from 0 to 0.99, or off"),
    ("dropout: {p: .nan}", "dropout.p", "nan", "numbers from 0 to 0.99, or off"),
    ("l1: {strength: .inf}", "l1.strength", "inf", "numbers from 0 up, or off"),
    ("early_stopping: {patience: 2.5}", "early_stopping.patience", "2.5", "whole numbers from 0 up"),
    ("dropout: {p: {lo: 0.1}}", "dropout.p.lo", "'lo'", "(did you mean low?)"),
    ("dropout: {p: {low: few}}", "dropout.p.low", "'few'", "numbers from 0 to 0.99"),
    ("dropout: {p: {low: -0.1}}", "dropout.p.low", "-0.1", "numbers from 0 to 0.99"),
    ("dropout: {p: {high: 1.5}}", "dropout.p.high", "1.5", "numbers from 0 to 0.99"),
    ("dropout: {p: {low: 0.5, high: 0.1}}", "dropout.p", "low 0.5 is above high 0.1", "low up to high"),
    ("dropout: {p: {low: 0.9}}", "dropout.p", "low 0.9 is above high 0.8", "high is 0.8 as declared"),
    ("dropout: {p: {log: yes}}", "dropout.p.log", "'yes'", "true and false"),
    ("dropout: {p: {log: true}}", "dropout.p.low", "0.0", "a low above 0"),
    ("l1: {strength: {low: 0}}", "l1.strength.low", "0.0", "a low above 0"),
    ("l1: {strength: {low: off}}", "l1.strength.low", "0.0", "log: false"),
    ("l1: {strength: {low: -1, log: false}}", "l1.strength.low", "-1", "numbers from 0 up"),
    ("early_stopping: {patience: {low: 1.5}}", "early_stopping.patience.low", "1.5", "whole numbers from 0 up"),
    ("clip_by_norm: {max_norm: {high: off}}", "clip_by_norm.max_norm.high", "'off'", "from, beside choose"),
    ("max_norm: {max_norm: {high: .inf}}", "max_norm.max_norm.high", "'off'", "from, beside choose"),
    ("elastic_net: {strength: 1, l1_ratio: off}", "elastic_net.l1_ratio", "'off'", "a number, search, or"),
    ("l2: {strength: {schedule: linaer}}", "l2.strength.schedule", "'linaer'", "(did you mean linear?)"),
    ("l2: {strength: {schedule: []}}", "l2.strength.schedule", "[]", "or a list of some of them"),
    ("l2: {strength: {schedule: [linear, linear]}}", "l2.strength.schedule", "'linear'", "or a list of some of them"),
    ("l2: {strength: {warmup: 1.5}}", "l2.strength.warmup", "1.5", "numbers from 0 to 1"),
    ("l2: {strength: {warmup: {high: 2}}}", "l2.strength.warmup.high", "2", "numbers from 0 to 1"),
    ("l2: {strength: {warmup: {schedule: linear}}}", "l2.strength.warmup.schedule", "'schedule'", "low, high, log"),
    ("l2: {strength: {per: row}}", "l2.strength.per", "'row'", "allowed is layer"),
    ("l2: {strength: {value: 1, low: 0}}", "l2.strength.low", "0", "value, or low and high"),
    ("l2: {strength: {value: 1, per: layer}}", "l2.strength.per", "'layer'", "value, or low and high"),
    ("l2: {strength: {value: -1}}", "l2.strength.value", "-1", "numbers from 0 up, or off"),
    ("l2: {strength: {shedule: linear}}", "l2.strength.shedule", "'shedule'", "(did you mean schedule?)"),
    (
        "elastic_net: {strength: search, l1_ratio: {schedule: linear}}",
        "elastic_net.l1_ratio.schedule",
        "'schedule'",
        "log",
    ),
    ("early_stopping: {patience: {warmup: 0.1}}", "early_stopping.patience.warmup", "0.1", "counts whole epochs"),
    (
        "early_stopping: {patience: {low: 1, per: layer}}",
        "early_stopping.patience.per",
        "'layer'",
        "counts whole epochs",
    ),
    ("train: {learning_rate: off}", "train.learning_rate", "'off'", "a number, search, or"),
    ("train: {learning_rate: {low: 0}}", "train.learning_rate.low", "0", "numbers from 1e-08 to 10"),
]


@pytest.mark.parametrize(("text", "key", "value", "allowed"), BAD, ids=[row[0] for row in BAD])
def test_bad_spaces(text: str, key: str, value: str, allowed: str) -> None:
    with pytest.raises(UserError) as caught:
        build_space(read_yaml(text), knobs(), file="study.yaml")
    line = str(caught.value)
    assert line.startswith(f"study.yaml: space.{key}: ")
    assert value in line
    assert allowed in line
    assert "\n" not in line


@pytest.mark.parametrize("text", ["{}", "dropout: {p: 0.3}", "early_stopping: {patience: off}"])
def test_a_space_that_searches_nothing_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"^space: nothing is searched; name a regularizer"):
        space(text)


def test_one_setting_is_held_against_none_as_the_refusal_says() -> None:
    with pytest.raises(UserError) as refused:
        space("l1: {strength: 0.3}")
    assert "write choose: one, from: {l1: {...}}, and search.sampler: grid" in str(refused.value)
    grid = Grid(space("{choose: one, from: {l1: {strength: 0.3}}}"), seed=0)
    assert grid.size == 1 and grid.answers(1) == {"regularizer": "l1", "l1.strength": 0.3}


def test_an_unknown_regularizer_is_told_from_the_keys_beside_it() -> None:
    with pytest.raises(UserError) as refused:
        space("{gaussian_dropout: search}")
    line = str(refused.value)
    names, keys = line.split("; ")[1].split(", and the keys ")
    assert names.startswith("allowed are input_noise, ") and names.endswith(", early_stopping")
    assert not {"choose", "from", "train"} & set(names.replace(",", "").split())
    assert keys == "choose, from, train (did you mean gaussian_noise?)"
    assert line.endswith("; one of your own needs its entry point regsearch.regularizers, and pip install .")
    with pytest.raises(UserError) as refused:
        space("{choose: one, from: [l1, choose]}")
    assert "keys" not in str(refused.value)
    with pytest.raises(UserError, match=r"\(did you mean dropout\?\)$"):
        space("{drpout: search}")
    with pytest.raises(UserError, match=r"did you mean choose\?"):
        space("{chose: one, l1: search}")
