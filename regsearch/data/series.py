"""Series cut into windows, each within one series, and shared out among the parts at times that are common to all.

Legend: N rows, S starts of windows, W rows of a window, H of a horizon.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from regsearch.data.arrays import no_column
from regsearch.data.columns import as_text
from regsearch.data.split import PARTS, Rows, consecutive, empty_part
from regsearch.data.times import ROW, places_in_time
from regsearch.errors import UserError

if TYPE_CHECKING:
    from regsearch.config import DataConfig
    from regsearch.data.arrays import Table

Array = np.ndarray


@dataclass(frozen=True)
class Windows:
    """Where the windows of a forecast lie.

    Args:
        frame: the rows without their time, series by series and each in the order of time.
        series: of each row of `frame`, counted from 0, [N].
        starts: the row of `frame` with which each window begins, [S], ascending.
        rows: by part, which of the windows these are.
        source: the row of the table that each row of `frame` is, [N].
        left_out: rows of series that are too short for a window (`series`), and windows that are in no part: those
            before all parts (`sizes`), and those that would reach from one into the next (`across`).
        size, horizon: rows that a window sees, and rows after it that are forecast.
    """

    frame: pd.DataFrame
    series: Array
    starts: Array
    rows: Rows
    source: Array
    size: int
    horizon: int
    left_out: dict[str, int]


def cut_windows(table: Table, config: DataConfig, every_row: bool = True) -> Windows:
    """Cut the windows of each part: those whose rows and horizon lie within the times of the part.

    Series that are shorter than a window and its horizon hold none.

    Args:
        every_row: see `regsearch.data.split.split_rows`.

    Raises:
        UserError: a column is missing, a time is missing or stands twice in a series, or there are too few rows.
    """
    if not isinstance(table.x, pd.DataFrame):
        raise UserError("windows are cut from a table", key="data.source", value=config.source)
    by, size, horizon = str(config.split.column), int(config.window or 0), config.horizon
    for key, name in (("split.by", by), ("series", config.series)):
        if name is not None and name not in table.x.columns:
            raise no_column(table, f"data.{key}", name)
    places, series = places_in_time(table.x[by], config.split.time_format), _series(table.x, config.series)
    order = np.lexsort((places, series))
    _refuse_doubles(table.x[by], config.series, places[order], series[order], order)
    order = order[np.bincount(series)[series[order]] >= size + horizon]
    places, series = np.unique(places[order], return_inverse=True)[1], series[order]
    total = len(np.unique(places)) - size - horizon + 1
    if total < 3:
        counted = "rows" if config.series is None else "times"
        allowed = f"there are {total + size + horizon - 1} {counted} for a window of {size} and a horizon of {horizon}"
        raise UserError("too few rows for windows", key="data.window", value=size, allowed=allowed)
    reach = size + horizon - 1
    starts = np.flatnonzero(series[: len(series) - reach] == series[reach:])
    times = consecutive(total, config.split, max(config.split.embargo, reach), every_row)
    rows = {part: _within(places[starts], places[starts + reach], times[part], reach) for part in PARTS}
    for part in PARTS:
        if len(rows[part]) == 0 and len(times[part]):
            raise empty_part(part, len(starts), config.split)
    missing, early = len(starts) - sum(map(len, rows.values())), int((places[starts] < times["train"][0]).sum())
    counts = {"series": len(table.x) - len(order), "sizes": early, "across": missing - early}
    left_out = {name: count for name, count in counts.items() if count}
    return Windows(table.x.iloc[order].drop(columns=[by]), series, starts, rows, order, size, horizon, left_out)


def rows_of_windows(starts: Array, size: int) -> Array:
    """List the rows, ascending, that windows of `size` rows touch."""
    return np.unique(starts[:, None] + np.arange(size))


def _within(first: Array, last: Array, times: Array, reach: int) -> Array:
    """Which windows begin and end within the windows of all times that begin at `times`."""
    if len(times) == 0:
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero((first >= times[0]) & (last <= times[-1] + reach))


def _series(frame: pd.DataFrame, name: str | None) -> Array:
    """The number of each row's series, [N]; in the order of their names."""
    if name is None:
        return np.zeros(len(frame), dtype=np.int64)
    missing = np.flatnonzero(frame[name].isna().to_numpy(dtype=bool))
    if len(missing):
        what = f"the series is missing in {len(missing)} of {len(frame)} rows, first in {ROW.format(missing[0] + 1)}"
        raise UserError(what, key="data.series", value=name, allowed="every row needs one: fill it in, or leave it out")
    return np.unique(as_text(frame[name]).astype(str), return_inverse=True)[1]


def _refuse_doubles(times: pd.Series, name: str | None, places: Array, series: Array, order: Array) -> None:
    """Refuse a time that stands twice in one series; all but `times` in the order `order`."""
    same = np.flatnonzero((places[1:] == places[:-1]) & (series[1:] == series[:-1]))
    if len(same):
        first, second = int(order[same[0]]), int(order[same[0] + 1])
        within = f" of one {name}" if name else ""
        what = (
            f"column {times.name} holds one time in rows {first + 1} and {second + 1}{within}, the header not counted"
        )
        mend = "let each time stand once: join its rows to one, by their sum or mean"
        allowed = f"{'in each series' if name else 'name the column that tells series apart as data.series, or'} {mend}"
        raise UserError(what, key="data.split.by", value=str(times.iloc[first]), allowed=allowed)
