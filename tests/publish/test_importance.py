"""What mattered in a study whose pruner left few complete trials."""

from __future__ import annotations

from pathlib import Path

import pytest

from regsearch.errors import UserError
from regsearch.publish.importance import keep_importance, weigh
from regsearch.space import SearchSpace
from regsearch.tracking.log.records import Artifact
from regsearch.trial import Report, Trial, TrialState
from tests.analysis.planted import planted

SPACE, EPOCHS = SearchSpace(), 9


def trials(lengths: list[int]) -> list[Trial]:
    """The planted trials; each trained so many epochs, its loss 10 higher with every epoch, its gap 1."""
    found = []
    for row, length in zip(planted(len(lengths)).to_dict("records"), lengths, strict=True):
        params = {name: value for name, value in row.items() if "." in str(name) and value == value}
        state = TrialState.COMPLETE if length == EPOCHS else TrialState.PRUNED
        reports = [
            Report(row["number"], epoch, {"val_loss": row["val_loss"] + 10 * epoch, "gap": row["gap"] + epoch})
            for epoch in range(1, length + 1)
        ]
        found.append(Trial(row["number"], params, 0, state=state, reports=reports))
    return found


def test_trials_are_compared_in_the_last_epoch_that_enough_of_them_reached() -> None:
    found = weigh(trials([1] * 100 + [3] * 60 + [EPOCHS] * 13), SPACE)
    assert (found.trials, found.epoch) == (73, 3)
    assert next(iter(found.loss)) == "l2.strength" and max(found.gap, key=found.gap.__getitem__) == "dropout.p"
    curve = next(each for each in found.dependence if each.name == "l2.strength")
    assert 30 < min(curve.seen_loss) <= max(curve.seen_loss) < 33
    assert found.basis == "73 trials, in epoch 3"


def test_complete_trials_are_compared_as_they_ended() -> None:
    every = trials([3] * 60 + [EPOCHS] * 25)
    every[-1].reports[-1] = Report(84, EPOCHS, {"val_loss": 1e6, "gap": 0.0}, restored=EPOCHS - 1)
    found = weigh(every, SPACE)
    assert (found.trials, found.epoch, found.basis) == (25, None, "25 complete trials")
    assert max(max(each.seen_loss) for each in found.dependence) < 100


def test_few_trials_are_refused_and_nothing_is_kept(tmp_path: Path) -> None:
    few = trials([1] * 12 + [EPOCHS] * 7)
    with pytest.raises(UserError, match="20 complete trials are needed to say what mattered, there are 7"):
        weigh(few, SPACE)
    said: list[object] = []
    tracker = type("Tracker", (), {"append": lambda self, record: said.append(record)})()
    assert keep_importance(few, SPACE, tmp_path, tracker) is None
    assert said == [] and list(tmp_path.iterdir()) == []
    assert keep_importance(trials([EPOCHS] * 30), SPACE, tmp_path, tracker) is not None
    paths = [Path(each.path).name for each in said if isinstance(each, Artifact)]
    assert paths[0] == "importance.json" and {"importance.svg", "dependence.png", "interaction.png"} <= set(paths)
    assert all((tmp_path / name).exists() for name in paths)
