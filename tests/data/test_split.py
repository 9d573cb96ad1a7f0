"""A split by time: the order of its rows, and rows of one time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from regsearch.config import DataConfig
from regsearch.data.sources import load_table
from regsearch.data.split import PARTS, Rows, split_rows
from regsearch.errors import UserError


def split_of(folder: Path, when: Any, **split: Any) -> Rows:
    """The rows of each part of a table with the column `when`."""
    frame = pd.DataFrame({"when": when})
    frame.assign(a=np.arange(len(frame)), y=np.arange(len(frame)) % 2).to_csv(folder / "t.csv", index=False)
    data = {"source": "csv:t.csv", "task": "classification", "target": "y"}
    config = DataConfig.model_validate({**data, "split": {"by": {"time": "when"}, **split}})
    return split_rows(load_table(config, str(folder)), config.split)


DAYS = pd.date_range("2022-01-01", periods=300)


@pytest.mark.parametrize("form", ["%-m/%-d/%Y", "%Y-%m-%d", "%d.%m.%Y", "%Y%m%d"])
@pytest.mark.parametrize("order", [np.arange(300), np.arange(300)[::-1], np.random.default_rng(0).permutation(300)])
def test_the_latest_days_test_however_they_are_written_and_ordered(tmp_path: Path, form: str, order: Any) -> None:
    rows = split_of(tmp_path, [day.strftime(form) for day in DAYS[order]])
    days = {part: sorted(order[rows[part]]) for part in PARTS}
    assert days == {"train": [*range(180)], "validation": [*range(180, 240)], "test": [*range(240, 300)]}


def test_undated_rows_are_refused_and_not_the_test(tmp_path: Path) -> None:
    numbers = np.arange(300.0)
    numbers[np.random.default_rng(0).permutation(300)[:16]] = np.nan
    with pytest.raises(UserError, match=r"missing in 16 of 300 rows, first in row \d+"):
        split_of(tmp_path, numbers)
    texts = DAYS.astype(str).to_series().reset_index(drop=True)
    texts[41] = None
    with pytest.raises(UserError, match=r"missing in 1 of 300 rows, first in row 42"):
        split_of(tmp_path, texts)


def times_of(rows: Rows, when: np.ndarray) -> list[set[int]]:
    return [set(when[rows[part]]) for part in PARTS]


@pytest.mark.parametrize("embargo", [0, 7])
def test_rows_of_one_time_are_on_one_side(tmp_path: Path, embargo: int) -> None:
    when = np.random.default_rng(0).integers(0, 12, 300)
    rows = split_of(tmp_path, when, embargo=embargo)
    train, validation, test = times_of(rows, when)
    assert max(train) < min(validation) and max(validation) < min(test)
    ordered = np.sort(when)
    assert min(test) == ordered[240], "a part begins where the time begins that its first row holds"
    assert len(rows["test"]) == np.sum(when >= ordered[240])
    end = 300 - len(rows["test"]) - embargo
    assert min(validation) == ordered[end - 60]
    assert len(rows["train"]) == min(180, np.sum(when < min(validation)) - embargo)


def test_a_part_that_equal_times_leave_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.split\.train: no row is left.*rows of one time stay in one part"):
        split_of(tmp_path, [2001] * 150 + [2002] * 150)
    with pytest.raises(UserError, match=r"no row is left"):
        split_of(tmp_path, [2001] * 300)
