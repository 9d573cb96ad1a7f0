"""What samplers learn outlives them: one is made for each trial, and what it leaves out is said once."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from pydantic import ValidationError

from regsearch.config import SearchConfig
from regsearch.search.journal import JournalFile
from regsearch.search.optuna import OptunaSearch
from regsearch.space import Range, SearchSpace
from regsearch.trial import TrialState
from tests.search.turns import SPACE

PLAIN = SearchSpace(always=(Range("dropout.p", 0.0, 1.0), Range("label_smoothing.share", 0.0, 1.0)))


def search(folder: Path, sampler: str, space: SearchSpace) -> OptunaSearch:
    config = SearchConfig.model_validate({"sampler": sampler, "pruner": "none", "seed": 3})
    return OptunaSearch("study", space, config, JournalFile(folder / f"{sampler}.journal"), ["minimize"], 3)


def test_a_covariance_outlives_the_process(tmp_path: Path) -> None:
    values = []
    for number in range(100):
        if number % 10 == 0:
            made = search(tmp_path, "cmaes", PLAIN)
        params = made.ask().params
        value = sum((float(each) - 0.7) ** 2 for each in params.values())
        made.tell(number, TrialState.COMPLETE, value)
        made.commit({"turn": number})
        values.append(value)
    assert sum(values[81:]) < sum(values[1:20]) / 20


class Lines(logging.Handler):
    """Keeps what is logged."""

    def __init__(self, lines: list[logging.LogRecord]) -> None:
        super().__init__()
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record)


@pytest.mark.parametrize("sampler", ["cmaes", "gp", "nsga2", "nsga3"])
def test_what_is_drawn_at_random_is_said_once(tmp_path: Path, sampler: str) -> None:
    (tmp_path / "plain").mkdir()
    lines: list[logging.LogRecord] = []
    handler = Lines(lines)
    logging.getLogger("optuna").addHandler(handler)
    try:
        made = search(tmp_path, sampler, SPACE)
        for number in range(13):
            params = made.ask().params
            made.tell(number, TrialState.COMPLETE, float(params.get("dropout.p", 0.3)))
    finally:
        logging.getLogger("optuna").removeHandler(handler)
    assert not [line for line in lines if "independently" in line.getMessage()]
    chance = "l1.strength" if "nsga" in sampler else "regularizer, l1.strength"
    assert made.notes == [f"the sampler {sampler} draws {chance} at random: its model has no place for them"]
    assert search(tmp_path / "plain", sampler, PLAIN).notes == search(tmp_path, "tpe", SPACE).notes == []


@pytest.mark.parametrize("sampler", ["sobol", "halton", "qmc", "grid"])
def test_ray_tune_has_no_such_sampler(sampler: str) -> None:
    with pytest.raises(ValidationError, match="belongs to another engine"):
        SearchConfig.model_validate({"engine": "ray_tune", "sampler": sampler})
