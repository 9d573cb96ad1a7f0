"""Numbers that are written as texts are numbers; what cannot be told is refused in a line that says what to write."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from regsearch.config import DataConfig
from regsearch.data.columns import read_numbers
from regsearch.data.written import read_columns
from regsearch.errors import UserError

NAN = math.nan


def frame_of(cells: list[Any]) -> pd.DataFrame:
    return pd.DataFrame({"c": pd.Series(cells, dtype=object)})


def asking(**columns: dict[str, str]) -> DataConfig:
    return DataConfig.model_validate({"source": "csv:t.csv", "target": "y", "task": "regression", "columns": columns})


def numbers_of(cells: list[Any], **asked: str) -> list[float] | None:
    """The numbers that a column is read as; None where it is words."""
    frame = frame_of(cells)
    reading = read_columns(frame, asking(c=asked) if asked else None)["c"]
    if not reading.numeric:
        return None
    read: list[float] = read_numbers({"name": "c", "kind": "numeric", **reading.entry}, frame["c"]).tolist()
    return read


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["1", "2.5", "?"], [1, 2.5, NAN]),
        (["1", "2", "-", "N/A", " ", "unknown", "*", "--", ".", "Missing"], [1, 2] + [NAN] * 8),
        (["3,7", "4,1", "5"], [3.7, 4.1, 5]),
        (["0,123", "0,456"], [0.123, 0.456]),  # nobody groups thousands behind a nought
        (["1,234", "1,5"], [1.234, 1.5]),
        (["$1,003.29", "$5", "-$3.50", "$-2", "($12.50)", "+$1"], [1003.29, 5, -3.5, -2, -12.5, 1]),
        (["1.003,29 €", "5 €", "-7,5€"], [1003.29, 5, -7.5]),
        (["1.003.290", "2,5"], [1003290, 2.5]),
        (["CHF 12", "chf 13.50", "Fr. 1"], [12, 13.5, 1]),
        (["USD 5", "US$7", "9 $", "3"], [5, 7, 9, 3]),
        (["12%", "7.5 %", "0", "-1%"], [12, 7.5, 0, -1]),
        (["1 234", "12 345 678", "5"], [1234, 12345678, 5]),
        (["1\u00a0234,5", "1\u202f234,25", "2"], [1234.5, 1234.25, 2]),
        (["1'234.5", "1\u2019234", "7"], [1234.5, 1234, 7]),
        (["(12.50)", "( 3 )", "3"], [-12.5, -3, 3]),
        (["1,234,567", "1,234"], [1234567, 1234]),
        (["1.234", "5.678", "?"], [1.234, 5.678, NAN]),  # as any program reads it
        (["1e3", "2.5E-3", "?"], [1000, 0.0025, NAN]),
        (["\u22125", "3,5"], [-5, 3.5]),  # a typographer's minus
        (["kr 5", "7 kr", "1 234 kr."], [5, 7, 1234]),
        ([1, 2.5, "?", None], [1, 2.5, NAN, NAN]),  # as a spreadsheet gives it
        ([1, "$2", Decimal("3.5")], [1, 2, 3.5]),
        ([1, 2, None], [1, 2, NAN]),
        ([1, 2.5, np.float32(0.5), np.int8(3)], [1, 2.5, 0.5, 3]),
        ([Decimal("1.50"), Decimal(2), None, Decimal("NaN")], [1.5, 2, NAN, NAN]),
        (["-0.5", "?", "0", "10"], [-0.5, NAN, 0, 10]),
    ],
)
def test_numbers_are_read_whichever_way_they_are_written(cells: list[Any], numbers: list[float]) -> None:
    np.testing.assert_array_equal(numbers_of(cells), numbers)


@pytest.mark.parametrize(
    "cells",
    [
        ["00123", "02134", "?"],
        ["1", "2", "3"],  # of a source whose cells have types: a text is a text
        ["1", "2", None],
        ["?", "-", "$5"],
        ["1", "2", "3", "X"],
        ["2021-10-23", "2021-10-24"],
        ["23.10.2021", "24.10.2021"],
        ["10:30", "11:15"],
        ["1.2.3", "1.2.4"],
        ["192.168.0.1", "10.0.0.7"],
        ["1,00,000", "2"],  # no groups of three
        ["12,34,56", "1"],
        ["5 m", "7 m"],
        ["1-2", "3-4"],
        ["yes", "no", "?"],
        [True, False, None],
        [7, 8.0, "X"],
        ["True", "?", "1"],
    ],
)
def test_words_stay_words(cells: list[Any]) -> None:
    assert numbers_of(cells) is None


def test_a_category_of_pandas_stays_one() -> None:
    frame = pd.DataFrame({"c": pd.Categorical(["$1", "$2", "?"])})
    assert not read_columns(frame)["c"].numeric
    assert read_columns(frame, asking(c={"kind": "number"}))["c"].numeric


MANY = [f"{number}.5" for number in range(60)]


@pytest.mark.parametrize(
    ("cells", "asked", "said"),
    [
        (["5", "1,234", "?"], {}, "'1,234' in row 2, the header not counted, which could be 1234 or 1.234; write "
                                  'data.columns: {c: {decimal: ","}} where that is the sign before decimals, else '
                                  '{decimal: "."}'),
        (["1,234 €", "5.678 €"], {}, "'1,234 €' in row 1, the header not counted, which could be 1234 or 1.234"),
        (["1.234,5", "7", "1,234.5"], {}, "'1.234,5' in row 1 and '1,234.5' in row 3, the header not counted, numbers "
                                          "written in different ways"),
        (["$5", "€7"], {}, "'$5' in row 1 and '€7' in row 2, the header not counted, amounts in different units"),
        (["7", "12%"], {}, "'7' in row 1 and '12%' in row 2, the header not counted, of which one may be a share"),
        ([0.12, "12%"], {}, "'12%' in row 2, the header not counted and the number 0.12"),
        ([*MANY, "twelve"], {}, "'twelve' in row 61, the header not counted, and numbers in 60 of 61 rows; mend it, or "
                                "leave it empty; if these are no numbers, write data.columns: {c: {kind: category}}"),
        ([*MANY, "?", "??"], {}, "'??' in row 62"),
        ([*MANY, *map(float, range(5)), "n.n."], {}, "'n.n.' in row 66"),
        (["1", "X", "2"], {"kind": "number"}, "'X' in row 2, the header not counted, which is no number"),
        ([True, False], {"kind": "number"}, "'True' in row 1, the header not counted, which is no number"),
        (["3,7", "4.1.2"], {"decimal": ","}, "'4.1.2' in row 2, the header not counted, which is no number"),
        (["3.75", "4"], {"decimal": ","}, "'3.75' in row 1, the header not counted, which is no number"),
        ([1.5, 2.5], {"decimal": ","}, "holds numbers, no texts; leave decimal out"),
        (["1e39", "?", "2"], {"kind": "number"}, "holds a number beyond ±3.4e+38 in 1 of 3 rows, first in row 1"),
        ([Decimal("1e400"), Decimal(1)], {"kind": "number"}, "holds infinity in 1 of 2 rows, first in row 1"),
        ([10**400, 1], {"kind": "number"}, "too large"),
    ],
)  # fmt: skip
def test_what_cannot_be_told_is_refused_in_a_line(cells: list[Any], asked: dict[str, str], said: str) -> None:
    frame = frame_of(cells)
    frame = frame.infer_objects() if all(isinstance(cell, float) for cell in cells) else frame
    with pytest.raises(UserError) as refused:
        read_columns(frame, asking(c=asked) if asked else None)
    line = str(refused.value)
    assert "column c " in line and said in line and "\n" not in line


@pytest.mark.parametrize(
    ("cells", "asked", "numbers"),
    [
        (["5", "1,234", "?"], {"decimal": ","}, [5, 1.234, NAN]),
        (["5", "1,234", "?"], {"decimal": "."}, [5, 1234, NAN]),
        (["1.234", "?", "5"], {"decimal": ","}, [1234, NAN, 5]),
        (["007", "12", "?"], {"kind": "number"}, [7, 12, NAN]),
        (["1", "2"], {"kind": "number"}, [1, 2]),
        (["$5", "€7"], {"kind": "category"}, None),
        ([*MANY, "twelve"], {"kind": "category"}, None),
    ],
)
def test_the_study_file_says_otherwise(cells: list[Any], asked: dict[str, str], numbers: list[float] | None) -> None:
    read = numbers_of(cells, **asked)
    assert read is None if numbers is None else read is not None
    if numbers is not None:
        np.testing.assert_array_equal(read, numbers)
