"""The study file written for one's own table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from regsearch.cli.starter import study_text, task_of
from regsearch.config import load_config


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["well", "ill"] * 5, "classification"),
        ([True, False] * 5, "classification"),
        ([0, 1, 2] * 5, "classification"),
        ([0.0, 1.0, None] * 5, "classification"),
        (list(range(30)), "regression"),
        ([0.5, 1.5] * 5, "regression"),
        ([1, 2, 3, 3, 3], "regression"),
        ([7] * 9, "regression"),
    ],
)
def test_the_task_is_read_off_the_target(values: list[object], task: str) -> None:
    assert task_of(pd.Series(values)) == task


@pytest.mark.parametrize("target", ["y", "sick now", "it's", "true", "2024", "#", "a: b", "off", "1e-3", "- x"])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_file_loads_whatever_the_target_is_called(tmp_path: Path, target: str, task: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(study_text("mine", "csv:a b.csv", target, task, 500))
    config = load_config(path)
    assert (config.data.target, config.data.source, config.data.task) == (target, "csv:a b.csv", task)
