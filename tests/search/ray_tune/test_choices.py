"""What a study file may ask of Ray Tune, and what is refused in a line before anything begins."""

from __future__ import annotations

import math
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from regsearch.config import SearchConfig, build_space
from regsearch.errors import UserError
from regsearch.regularizers import knobs
from regsearch.search.ray_tune.choices import decisions, make_scheduler, make_searcher
from regsearch.search.ray_tune.encoding import decode, domains, numbers, sampled
from regsearch.search.ray_tune.session import check
from regsearch.space import Choice, SearchSpace
from regsearch.study.study import Study

SPACES = {
    "one": {"choose": "one", "from": ["l1", "dropout"], "clip_by_norm": "search"},
    "any": {
        "choose": "any",
        "from": {"l2": {"strength": {"schedule": ["constant", "cosine"]}}, "early_stopping": "search"},
    },
}


def space(name: str) -> SearchSpace:
    return build_space(SPACES[name], knobs())


def config(**search: object) -> SearchConfig:
    return SearchConfig.model_validate({"engine": "ray_tune", **search})


@pytest.mark.parametrize("name", SPACES)
def test_flat_settings_are_those_of_the_space(name: str) -> None:
    """Drawn flat, a setting has a value for every knob; those that are active are a setting of the space."""
    own = space(name)
    for seed in range(40):
        flat = sampled(own, seed)
        assert set(flat) == set(domains(own))
        params = decode(own, flat)
        assert decode(own, {**flat, **own.answers(params)}) == params
        assert set(own.answers(params)) <= set(flat)
    assert sampled(own, 3) == sampled(own, 3) != sampled(own, 4)


def test_what_a_population_explores_stays_within_the_space() -> None:
    own = space("one")
    explore = make_scheduler(config(scheduler="pbt"), own, 30)._custom_explore_fn  # type: ignore[attr-defined]
    highest = {name: of.high for name, of in numbers(own).items()}
    assert explore({**{name: 9e9 for name in highest}, "regularizer": "l1"}) == {**highest, "regularizer": "l1"}


@pytest.mark.parametrize("name", ["asha", "hyperband", "median", "pbt", "pb2", "none"])
def test_every_scheduler_is_there(name: str) -> None:
    check(config(scheduler=name), space("one"), 30)


@pytest.mark.parametrize(
    "options",
    [{}, {"grace_period": 2, "reduction_factor": 2.5, "brackets": 2}, {"max_t": 11, "stop_last_trials": False}],
)
@pytest.mark.parametrize("epochs", [3, 9, 30])
def test_tune_is_asked_at_the_rungs_of_asha_and_decides_nothing_between(epochs: int, options: dict[str, Any]) -> None:
    own, asked = space("one"), config(scheduler={"name": "asha", **options})
    found = decisions(asked, epochs)
    scheduler: Any = make_scheduler(asked, own, epochs)
    assert scheduler.set_search_properties("val_loss", "min")
    ended: set[int] = set()
    for seed in range(40):
        draw = random.Random(seed)
        for trial in [SimpleNamespace(trial_id=f"{seed}-{number}") for number in range(8)]:
            scheduler.on_trial_add(None, trial)
            for epoch in range(1, epochs + 1):
                if scheduler.on_trial_result(None, trial, {"epoch": epoch, "val_loss": draw.random()}) == "STOP":
                    ended.add(epoch)
                    break
    assert ended <= set(found) and found[-1] == epochs == max(found)
    rungs = {math.ceil(rung) for bracket in scheduler._brackets for rung, _ in bracket._rungs}
    assert {rung for rung in rungs if rung <= epochs} <= set(found)


def test_of_other_schedulers_each_epoch_counts() -> None:
    assert decisions(config(scheduler="none"), 6) == (6,)
    for name in ("hyperband", "median", "pbt", "pb2", {"name": "asha", "time_attr": "training_iteration"}):
        assert decisions(config(scheduler=name), 6) == (1, 2, 3, 4, 5, 6)


def test_a_searcher_of_tune_draws_flat_settings() -> None:
    own = space("any")
    searcher = make_searcher(config(algorithm="hyperopt", seed=3), own, "val_loss", "min")
    assert searcher is not None
    drawn = [decode(own, searcher.suggest(str(k))) for k in range(12)]
    again = make_searcher(config(algorithm="hyperopt", seed=3), own, "val_loss", "min")
    assert again is not None
    assert drawn == [decode(own, again.suggest(str(k))) for k in range(12)]
    assert len({tuple(sorted(each)) for each in drawn}) > 1


@pytest.mark.parametrize(
    ("search", "key", "said"),
    [
        ({"algorithm": "ax"}, "search.algorithm", "package may be missing"),
        ({"algorithm": {"name": "hyperopt", "nonsense": 1}}, "search.algorithm", "nonsense"),
        ({"scheduler": {"name": "asha", "nonsense": 1}}, "search.scheduler", "nonsense"),
        ({"objective": ["val_loss", "gap"]}, "search.objective", "engine optuna"),
    ],
)
def test_what_cannot_be_used_is_refused(search: dict[str, object], key: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        check(config(**search), space("one"), 30)
    assert caught.value.key == key and said in str(caught.value) and "\n" not in str(caught.value)


def test_a_population_needs_a_number() -> None:
    fixed = SearchSpace(always=(Choice("dropout.p.schedule", ("constant", "cosine")),), fixed={"dropout.p": 0.3})
    with pytest.raises(UserError, match="population needs a number"):
        check(config(scheduler="pbt"), fixed, 30)


def test_a_client_of_a_cluster_cannot_hold_what_tune_keeps(tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(
        'name: small\ndata: {source: "sklearn:digits"}\nmodel: {name: mlp}\nspace: {l2: search}\n'
        "search: {engine: ray_tune}\n"
    )
    with pytest.raises(UserError, match="which a client is not") as caught:
        Study.from_file(file, ray="ray://127.0.0.1:1").run()
    assert caught.value.key == "--ray"
