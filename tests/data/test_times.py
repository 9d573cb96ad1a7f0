"""A column used as time: in what order its rows stand, and what is refused because no order is sure."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from regsearch.data.times import is_of_dates, places_in_time
from regsearch.errors import UserError

DAYS = pd.date_range("2021-11-20", periods=300)
SHUFFLED = np.random.default_rng(0).permutation(len(DAYS))


def places(values: Any, time_format: str | None = None, **more: Any) -> list[int]:
    return places_in_time(pd.Series(values, name="when", **more), time_format).tolist()


def refused(values: Any, time_format: str | None = None, **more: Any) -> str:
    """The line that refuses the column."""
    with pytest.raises(UserError) as error:
        places(values, time_format, **more)
    return str(error.value)


FORMS = (
    "%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S.123456789+02:00", "%Y-%m-%dT%H:%MZ", "%Y-%m-%dT%H", "%Y%m%d",
    "%Y%m%dT%H%M%S", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%m/%d/%y", "%Y/%m/%d", "%m/%d/%Y %I:%M:%S %p", "%d %b %Y",
    "%d-%B-%Y", "%B %d, %Y", "%d%b%Y", "%d-%b-%y", "%a, %d %b %Y %H:%M:%S +0100", "%Y:%m:%d %H:%M",
)  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("zeros", [True, False])
def test_dates_of_one_form_are_read_whatever_it_is(form: str, zeros: bool) -> None:
    short = form if zeros else form.replace("%m/", "%-m/").replace("/%d", "/%-d").replace("%d.%m.", "%-d.%-m.")
    texts = [day.strftime(short) for day in DAYS[SHUFFLED]]
    assert places(texts) == SHUFFLED.tolist()


def test_zones_half_days_and_hours_count() -> None:
    assert places(["2022-01-01T10:00+02:00", "2022-01-01T09:00Z", "2022-01-01T05:30-03:00"]) == [0, 2, 1]
    assert places(["2022-01-01T23:30-01:00", "2022-01-02T00:15Z"]) == [1, 0]
    assert places(["1/31/2022 12:05 AM", "1/31/2022 12:01 PM", "1/31/2022 9:00 am"]) == [0, 2, 1]
    assert places(["1/31/2022 0:01", "1/31/2022"]) == [1, 0], "a date alone is its midnight"
    assert places(["2022-01-01 00:00:00.000000002", "2022-01-01 00:00:00.000000001"]) == [1, 0]
    assert places(["9:30", "10:15", "9:30:01"]) == [0, 2, 1]
    assert places(["9:30 PM", "10:15 AM"]) == [1, 0]


def test_numbers_stay_numbers() -> None:
    assert places([10, 9.5, 10]) == [1, 0, 1]
    assert places(["10", "9.5", "1e1", "-2"]) == [2, 1, 2, 0]
    assert places(["10", 9, 2.5]) == [2, 1, 0]
    assert places([2022, 2021]) == places(["2022", "2021"]) == places([20220131, 20211231]) == [1, 0]
    assert places([2**60 + 1, 2**60], dtype="Int64") == [1, 0], "no digit is lost"
    assert places([Decimal("10"), Decimal("9.5")]) == [1, 0]
    assert places([1012000, 1012001, 1012002]) == [0, 1, 2], "counted on, though they look like 1 January"


@pytest.mark.parametrize(
    "times",
    [
        DAYS,
        DAYS.tz_localize("Europe/Berlin"),
        DAYS.to_period("D"),
        DAYS - DAYS[0],
        [day.date() for day in DAYS],
        [day.to_pydatetime() for day in DAYS.tz_localize("UTC")],
        [day.to_datetime64() for day in DAYS],
        pd.Series(list(DAYS.to_period("D")), dtype=object),
    ],
)
def test_datetimes_periods_and_durations_stay(times: Any) -> None:
    assert places(pd.Series(times).iloc[SHUFFLED]) == SHUFFLED.tolist()


def test_zones_of_datetimes_are_compared_in_one() -> None:
    east = datetime.timezone(datetime.timedelta(hours=2))
    times = [datetime.datetime(2022, 1, 1, 10, tzinfo=east), datetime.datetime(2022, 1, 1, 9, tzinfo=datetime.UTC)]
    assert places(pd.Series(times, dtype=object)) == [0, 1]
    assert "offset from UTC" in refused(pd.Series([times[0], datetime.datetime(2022, 1, 1)], dtype=object))


def test_parts_of_a_year_and_far_years() -> None:
    assert places(["2022Q1", "2021Q4"]) == places(["Q1 2022", "Q4 2021"]) == [1, 0]
    assert places(["2022-W05", "2021-W52", "2022-W5", "2022-W10"]) == [1, 0, 1, 2]
    assert places(["01/2022", "12/2021"]) == places(["Jan 2022", "Dec 2021"]) == places(["2022-1", "2021-12"]) == [1, 0]
    assert places(["9999-12-31", "0001-01-01", "1500-01-01"]) == [2, 0, 1]


def test_words_whose_order_is_said_keep_it() -> None:
    terms = ["spring", "summer", "autumn"]
    assert places(pd.Categorical(terms, terms, ordered=True)) == [0, 1, 2]
    assert places(pd.Categorical(["2/13/2022", "10/1/2021"])) == [1, 0]


def test_an_order_of_day_and_month_that_no_value_settles_is_refused() -> None:
    texts = ["2/2/2022", "1/2/2022", "3/12/2022"]
    line = refused(texts)
    assert line.startswith("data.split.time_format: column when holds dates that can be read in several ways")
    assert "first in row 2, the header not counted (got '1/2/2022')" in line
    assert 'time_format: "%d/%m/%Y" or time_format: "%m/%d/%Y"' in line
    assert places(texts, "%m/%d/%Y") == [1, 0, 2]
    assert places([f"{text} 9:30" for text in texts], "%d/%m/%Y") == [1, 0, 2], "the form may leave the time of day out"
    assert places([*texts, "1/13/2022"]) == [2, 0, 3, 1], "the last one settles it for all"
    assert places(["1/1/2022", "2/2/2022"]) == [0, 1], "both ways give the same days"
    assert 'time_format: "%y/%m/%d"' in refused(["22/01/13", "22/02/01"])


def test_whole_numbers_with_the_year_last_are_refused() -> None:
    line = refused([31012022, 1022022])
    assert "whole numbers that look like days with the year last" in line and '"%d%m%Y"' in line
    assert places([31012022, 1022022], "%d%m%Y") == places(["31012022", "01022022"], "%d%m%Y") == [0, 1]


UNREADABLE: list[tuple[list[Any], str | None, str]] = [
    (["1/13/2022", "1/14/2022", "13/1/2022"], None, "first in row 3, the header not counted (got '13/1/2022')"),
    (["2022-01-01", "2022-01-02", "soon"], None, "as %Y-%m-%d, first in row 3, the header not counted (got 'soon')"),
    (["?", "2022-01-01"], None, "(got '?')"),
    (["2022-02-28", "2022-02-30"], None, "(got '2022-02-30')"),
    (["today", "now"], None, "what is no time, first in row 1"),
    (["1", "2", "x"], None, "no number, as others are, first in row 3, the header not counted (got 'x')"),
    (["t1", "t2", "t10"], None, "(got 't1')"),
    (["25:00", "1:00"], None, "no time of day"),
    (["2022-01-01 10:61"], None, "no time of day"),
    (["9:30", "2022-01-01 9:30"], None, "row 2"),
    (["2022-01-01T10:00+02:00", "2022-01-01T09:00"], None, "offset from UTC"),
    (["2022-01-01T10:00 EST"], None, "no time"),
    ([True, False], None, "(got 'True')"),
    ([datetime.date(2022, 1, 1), 3], None, "first in row 2"),
    (["31.12.2022", "2022-12-31"], "%d.%m.%Y", "not written as %d.%m.%Y, first in row 2"),
    (["31.12.2022 10h", "31.12.2022"], "%d.%m.%Y %Hh", "first in row 2"),
]


@pytest.mark.parametrize(("values", "time_format", "says"), UNREADABLE)
def test_what_cannot_be_read_is_named_with_its_row(values: list[Any], time_format: str | None, says: str) -> None:
    line = refused(values, time_format)
    assert says in line and line.startswith("data.split.") and "column when holds" in line


@pytest.mark.parametrize(
    "values",
    [
        [1.0, None, 3.0, None],
        ["2022-01-01", None, "2022-01-03", " "],
        [pd.Timestamp(5), pd.NaT, pd.Timestamp(3), None],
        pd.Series([1, None, 2, None], dtype="Int64"),
        pd.Series([datetime.date(2022, 1, 1), None, datetime.date(2022, 1, 2), pd.NaT], dtype=object),
        pd.PeriodIndex(["2022-01", None, "2022-02", None], freq="M"),
        pd.Categorical(["a", None, "b", None], ["a", "b"], ordered=True),
    ],
)
def test_gaps_are_counted_and_refused(values: Any) -> None:
    assert "the time is missing in 2 of 4 rows, first in row 2, the header not counted (got 'when')" in refused(values)


TIMES = pd.Series(pd.date_range("2021-01-01", periods=200))
DATED = {
    "ISO": TIMES.dt.strftime("%Y-%m-%d"),
    "month first": TIMES.dt.strftime("%-m/%-d/%Y"),
    "readable in two ways": pd.Series(["1/2/2021", "3/4/2021"] * 9),
    "with a time of day": TIMES.dt.strftime("%Y-%m-%d %H:%M:%S"),
    "named months": TIMES.dt.strftime("%d %b %Y"),
    "quarters": pd.Series(["2021Q1", "2021Q2"] * 9),
    "with gaps": TIMES.dt.strftime("%Y-%m-%d").where(np.arange(200) % 7 > 0),
    "with another word": TIMES.dt.strftime("%Y-%m-%d").mask(np.arange(200) == 5, "unknown"),
    "with blanks": TIMES.dt.strftime("%Y-%m-%d").mask(np.arange(200) % 9 == 0, "  "),
    "of type": TIMES,
    "objects": TIMES.dt.date,
    "periods": TIMES.dt.to_period("D"),
    "categories": TIMES.astype(str).astype("category"),
}
OTHERS = {
    "words": ["high", "low"],
    "bins": ["20-29", "30-39"],
    "bins of years": ["1000-1999", "2000-2999"],
    "codes": ["A-123", "B-2345"],
    "telephones": ["555-123-4567", "555-999-0000"],
    "versions": ["1.2.3", "2.0.10"],
    "numbers as text": ["20210101", "20210102"],
    "numbers": [20210101, 20210102],
    "truths": [True, False],
    "nothing": [None, None],
    "texts": [f"service {number} of 2021-01-01" for number in range(100, 300)],
}


@pytest.mark.parametrize("kind", DATED)
def test_dates_are_told(kind: str) -> None:
    assert is_of_dates(DATED[kind])


@pytest.mark.parametrize("kind", OTHERS)
def test_what_are_no_dates(kind: str) -> None:
    assert not is_of_dates(pd.Series(OTHERS[kind] * 9))
