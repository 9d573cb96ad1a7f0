"""A setting that was chosen elsewhere becomes a trial like one that the sampler drew."""

from __future__ import annotations

from pathlib import Path

import pytest

from regsearch.config import SearchConfig
from regsearch.search.journal import JournalFile
from regsearch.search.optuna import OptunaSearch
from regsearch.space import Choice, Range, SearchSpace
from regsearch.trial import TrialState

MEMBERS = {
    "l1": (Range("l1.strength", 1e-6, 1e-2, log=True), Choice("l1.strength.schedule", ("constant", "linear"))),
    "max_norm": (Range("max_norm.limit", 1, 8, integer=True),),
}
ALWAYS = (Range("dropout.p", 0.0, 0.5),)
FIXED = {"l1": {"l1.strength.warmup": 0.25}}


def search(folder: Path, choose: str) -> OptunaSearch:
    space = SearchSpace(choose, MEMBERS, FIXED, ALWAYS, {"clip.max_norm": 1.0})  # type: ignore[arg-type]
    config = SearchConfig(sampler="random", pruner="none", seed=3)
    return OptunaSearch("study", space, config, JournalFile(folder / f"{choose}.journal"), ["minimize"], 3)


@pytest.mark.parametrize("choose", ["one", "any"])
def test_enlisted_trials_equal_drawn_ones(tmp_path: Path, choose: str) -> None:
    (tmp_path / "theirs").mkdir()
    ours, theirs = search(tmp_path, choose), search(tmp_path / "theirs", choose)
    for number in range(24):
        drawn = theirs.ask()
        assert ours.enlist(drawn.params, number) == drawn
    a, b = (each.study.get_trials() for each in (ours, theirs))
    assert [(t.params, t.distributions, t.user_attrs) for t in a] == [
        (t.params, t.distributions, t.user_attrs) for t in b
    ]
    assert len({tuple(t.params) for t in a}) >= 4
    ours.tell(5, TrialState.COMPLETE, 0.5)
    assert ours.study.best_trial.number == 5


def test_what_the_space_cannot_draw_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    found = search(tmp_path, "one")
    with pytest.raises(ValueError, match="trial 0 is the baseline"):
        found.enlist({"dropout.p": 0.1})
    found.enlist({"clip.max_norm": 1.0})
    wrong = (
        ({"clip.max_norm": 1.0, "dropout.p": 0.7}, "dropout.p is 0.7"),
        ({"clip.max_norm": 1.0}, "dropout.p is None"),
        ({"clip.max_norm": 2.0, "dropout.p": 0.2}, "no setting"),
        ({"clip.max_norm": 1.0, "dropout.p": 0.2, "l1.strength": 1e-3}, "l1.strength.schedule is None"),
        ({"clip.max_norm": 1.0, "dropout.p": 0.2, "l2.strength": 1e-3}, "no setting"),
    )
    for params, words in wrong:
        with pytest.raises(ValueError, match=words):
            found.enlist(params)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="trial 1 is due, not 2"):
        found.enlist({"clip.max_norm": 1.0, "dropout.p": 0.2}, 2)
    assert len(found.study.get_trials()) == 1
