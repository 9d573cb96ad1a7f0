"""Forecasts of several series in one table: windows of one series each, split at common times, and served alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from regsearch.config import DataConfig
from regsearch.data.columns import Preprocessing
from regsearch.data.parts import Parts, make_parts
from regsearch.data.sources import load_table
from regsearch.errors import UserError
from regsearch.tracking.mlflow.predict import load
from tests.export.packages import write_package

PARTS = ("train", "validation", "test")
DAYS = pd.date_range("2021-12-01", periods=90)


def stores(**levels: float) -> pd.DataFrame:
    """A row a day and store: the sales of day k are its level + k."""
    each = [
        pd.DataFrame({"date": DAYS, "store": name, "sales": level + np.arange(90.0)}) for name, level in levels.items()
    ]
    return pd.concat(each, ignore_index=True).sort_values("date", kind="stable", ignore_index=True)


def parts_of(folder: Path, frame: pd.DataFrame, **data: Any) -> Parts:
    frame.assign(date=frame["date"].dt.strftime("%-m/%-d/%Y")).to_csv(folder / "t.csv", index=False)
    task = {"source": "csv:t.csv", "task": "forecasting", "target": "sales", "window": 4}
    config = DataConfig.model_validate({**task, "split": {"by": {"time": "date"}}, **data})
    return make_parts(load_table(config, str(folder)), config)


def sales_of(parts: Parts, part: str) -> np.ndarray:
    """What each window holds and what follows it, in the target's units: [N, W + H]."""
    column, about = parts.preprocessing["columns"][0], parts.about  # type: ignore[index]
    seen = parts.x[part][:, :, 0].astype(float) * column["scale"] + column["mean"]
    ahead = parts.y[part].reshape(len(seen), -1).astype(float) * about["target_scale"] + about["target_mean"]
    return np.round(np.concatenate([seen, ahead], axis=1))


@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("embargo", [0, 12])
def test_windows_are_of_one_series_and_parts_share_no_day(tmp_path: Path, horizon: int, embargo: int) -> None:
    frame = stores(b=10_000, a=10).sample(frac=1, random_state=0)
    split = {"by": {"time": "date"}, "embargo": embargo}
    parts = parts_of(tmp_path, frame, series="store", horizon=horizon, split=split)
    days = []
    for part in PARTS:
        sales = sales_of(parts, part)
        assert (np.diff(sales, axis=1) == 1).all(), "each window goes on in its own series"
        of_b = sales[:, 0] >= 10_000
        assert of_b.sum() == (~of_b).sum() > 0
        day = np.where(of_b[:, None], sales - 10_000, sales - 10)
        np.testing.assert_array_equal(day[of_b], day[~of_b])
        days.append(day)
    gap = max(embargo, 4 + horizon - 1) - (4 + horizon - 1)
    assert days[0].max() + 1 + gap == days[1].min() and days[1].max() + 1 + gap == days[2].min()
    assert days[2].max() == 89
    assert [column["name"] for column in parts.preprocessing["columns"]] == ["sales"]  # type: ignore[index]
    assert len(parts.x["test"]) == 2 * round(0.2 * (90 - 4 - horizon + 1))


def test_one_series_with_a_key_is_cut_as_without(tmp_path: Path) -> None:
    frame = stores(a=10).sample(frac=1, random_state=0)
    with_key = parts_of(tmp_path, frame, series="store", horizon=2)
    without = parts_of(tmp_path, frame.drop(columns="store"), horizon=2)
    for part in PARTS:
        np.testing.assert_array_equal(with_key.rows[part], without.rows[part])
        np.testing.assert_array_equal(with_key.x[part], without.x[part])
        np.testing.assert_array_equal(with_key.y[part], without.y[part])
    assert with_key.about == without.about


def test_series_of_other_times_are_cut_at_the_same_ones(tmp_path: Path) -> None:
    """One begins late, one has gaps, one is shorter than a window and its horizon."""
    frame = stores(a=0, late=1000, gaps=10_000, short=100_000)
    day = frame["sales"] % 1000
    gone = (frame["store"] == "late") & (day < 40) | (frame["store"] == "gaps") & (day % 3 == 0)
    frame = frame[~gone & ((frame["store"] != "short") | (day < 4))]
    parts = parts_of(tmp_path, frame, series="store")
    days = [sales_of(parts, part) % 1000 for part in PARTS]
    assert days[0].max() < days[1].min() and days[1].max() < days[2].min()
    for part in PARTS:
        sales = sales_of(parts, part)
        assert len({*(sales[:, 0] // 1000)} & {0, 10}) == 2 and not (sales >= 100_000).any()
        assert (sales // 1000 == sales[:, :1] // 1000).all(), "no window holds two series"
        assert (np.diff(sales, axis=1) > 0).all()
    assert 1 in sales_of(parts, "test")[:, 0] // 1000


def test_a_time_that_stands_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        parts_of(tmp_path, stores(a=10, b=1000))
    line = str(error.value)
    assert line.startswith("data.split.by: column date holds one time in rows 1 and 2, the header not counted")
    assert "'12/1/2021'" in line and "data.series" in line
    twice = pd.concat([stores(a=10, b=1000), stores(b=5).iloc[[7]]])
    with pytest.raises(UserError, match=r"one time in rows 16 and 181 of one store"):
        parts_of(tmp_path, twice, series="store")


BAD: list[tuple[dict[str, Any], str]] = [
    ({"series": "shop"}, r"data\.series: no such column.*date, store, sales"),
    ({"series": "sales"}, r"is the target or the time"),
    ({"series": "date"}, r"is the target or the time"),
    ({"series": "store", "window": 88}, r"data\.window: too few rows.*90 times for a window of 88"),
]


@pytest.mark.parametrize(("data", "says"), BAD)
def test_a_series_that_cannot_be_used_is_refused(tmp_path: Path, data: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parts_of(tmp_path, stores(a=1, b=2), **data)


def test_a_row_of_no_series_is_refused(tmp_path: Path) -> None:
    frame = stores(a=1, b=2)
    frame.loc[4, "store"] = None
    with pytest.raises(UserError, match=r"series is missing in 1 of 180 rows, first in row 5"):
        parts_of(tmp_path, frame, series="store")


class Last(torch.nn.Module):
    """Forecasts the last value seen."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, -1, :1]


def test_a_served_table_of_several_series_is_answered_series_by_series(tmp_path: Path) -> None:
    parts = parts_of(tmp_path, stores(a=10, b=1000), series="store")
    assert parts.preprocessing is not None
    column = parts.preprocessing["columns"][0]
    units = {
        "target_mean": column["mean"],
        "target_scale": column["scale"],
        "outputs": 1,
        "preprocessing": parts.preprocessing,
    }
    more = {"task": "forecasting", "target": "sales", **units}
    write_package(tmp_path / "model", Last(), torch.from_numpy(parts.x["train"][:8]), more, parts.example)
    model = load(tmp_path / "model")
    rows = stores(b=1000, a=10).drop(columns="date").head(12).iloc[:11]
    answers = model(rows)
    assert answers["store"].tolist() == ["b", "b", "b", "a", "a"], "as they appear"
    np.testing.assert_allclose(answers["sales"], [1003, 1004, 1005, 13, 14], rtol=1e-5)
    alone = model(rows[rows["store"] == "a"])
    pd.testing.assert_frame_equal(alone, answers.tail(2).reset_index(drop=True))
    example = pd.DataFrame(parts.example["data"], columns=parts.example["columns"])
    assert set(example["store"]) == {"a"} and len(model(example)) == len(example) - 3
    served = Preprocessing.from_json(parts.preprocessing)
    for table, says in (
        (rows.drop(columns="store"), "lacks the column.*store"),
        (rows.head(7), "store a has 3 rows, and a forecast sees 4"),
        (rows.assign(store=[None, *["a"] * 10]), "row 1 says no store"),
        (rows.head(0), "0 rows"),
    ):
        with pytest.raises(ValueError, match=says):
            served.apply(table)
