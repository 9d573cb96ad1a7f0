"""What a study file says of objectives and constraints."""

from __future__ import annotations

from pathlib import Path

import pytest

from regsearch.config import SearchConfig, check_measures, load_config, measures
from regsearch.errors import UserError
from tests.config.test_study_file import refused, written


def test_objectives_and_constraints_are_checked_against_what_is_tracked() -> None:
    known = measures(("accuracy",))
    fine = SearchConfig(objective=("gap", "sparsity", "val_accuracy"), constraint="epochs <= 5")
    check_measures(fine, known, ("early_stopping",))
    with pytest.raises(UserError, match=r"search\.constraint: every trial trains all epochs"):
        check_measures(fine, known, ("dropout",))
    for search, key, close in (
        (SearchConfig(objective=("gap", "val_los")), "objective", "val_loss"),
        (SearchConfig(constraint="gap_acuracy <= 0.1"), "constraint", "gap_accuracy"),
    ):
        with pytest.raises(UserError, match=rf"^f.yaml: search.{key}: unknown metric .*did you mean {close}\?"):
            check_measures(search, known, (), "f.yaml")


@pytest.mark.parametrize(
    "text", ["gap < 0.1", "gap <= ", "gap", "gap <= nan", "gap <= inf", "<= 3", "gap <= 0.1 x", "2 <= 3"]
)
def test_what_is_no_constraint_is_refused(tmp_path: Path, text: str) -> None:
    said = refused(written(tmp_path, f"search: {{constraint: '{text}'}}"))
    assert said.startswith("search.constraint: not a constraint") and repr(text) in said and "gap <= 0.1" in said


def test_constraints_are_read_and_written_in_one_way(tmp_path: Path) -> None:
    search = load_config(written(tmp_path, "search: {constraint: ['gap<=1e-1', 'sparsity >=  0.5']}")).search
    assert [each.name for each in search.constraints] == ["gap <= 0.1", "sparsity >= 0.5"]
    assert [each.violation(0.3) for each in search.constraints] == pytest.approx([0.2, 0.2])
    assert search.measures == ("val_loss", "gap", "sparsity")
    said = refused(written(tmp_path, "search: {constraint: ['gap <= 0.1', 'gap<=0.10']}"))
    assert said.startswith("search.constraint: not a list of constraints")


@pytest.mark.parametrize(
    ("search", "key", "words"),
    [
        ("sampler: cmaes, objective: [val_loss, gap]", "sampler", "searches one objective"),
        ("engine: ray_tune, constraint: 'gap <= 0.1'", "constraint", "Ray Tune knows no constraints"),
    ],
)
def test_who_cannot_search_so_says_so(tmp_path: Path, search: str, key: str, words: str) -> None:
    assert refused(written(tmp_path, f"search: {{{search}}}")).startswith(f"search.{key}: {words}")
