"""A value has one text form: in training, and from CSV text, JSON, and tables of any type when it is served."""

from __future__ import annotations

import csv
import io
import json
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regsearch.config import DataConfig
from regsearch.data import keel
from regsearch.data.columns import MISSING, Preprocessing, canonical
from regsearch.data.parts import make_parts
from regsearch.data.preprocess import fit, fit_codes, fit_tokens
from regsearch.data.sources import load_table, missing_signs, read_csv
from regsearch.data.written import Reading


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("7", [7, 7.0, np.int8(7), np.float32(7), Decimal("7.00"), "7"]),
        ("007", ["007"]),
        ("0", [0, -0.0, Decimal("-0")]),
        ("0.1", [0.1, np.float32(0.1), np.float64(0.1), Decimal("0.10")]),
        ("1e-05", [1e-5, Decimal("0.00001")]),
        ("9007199254740993", [2**53 + 1, np.int64(2**53 + 1), Decimal(2**53 + 1)]),
        ("1234567890123.12345678901234567", [Decimal("1234567890123.123456789012345670")]),
        ("True", [True, np.True_, "True"]),
        ("2021-10-23", [date(2021, 10, 23), datetime(2021, 10, 23), pd.Timestamp("2021-10-23")]),
        ("2021-10-23", [np.datetime64("2021-10-23"), np.datetime64("2021-10-23T00:00", "ns")]),
        ("2021-10-23T08:30:00", [datetime(2021, 10, 23, 8, 30), np.datetime64("2021-10-23T08:30")]),
        ("2021-10-22T22:00:00+00:00", [pd.Timestamp("2021-10-23", tz="Europe/Berlin")]),
        ("0 days 03:00:00", [pd.Timedelta(hours=3), np.timedelta64(3, "h")]),
        ("2021-10", [pd.Period("2021-10")]),
        ("caf\u00e9", ["caf\u00e9", "caf\u00e9".encode()]),
        (None, [None, float("nan"), np.float32("nan"), pd.NaT, pd.NA, Decimal("NaN"), np.datetime64("NaT")]),
    ],
)
def test_one_value_has_one_text_whatever_its_type(text: str | None, values: list[Any]) -> None:
    assert [canonical(value) for value in values] == [text] * len(values)


def fitted_on(cells: list[Any] | pd.Series, category: bool = False) -> Preprocessing:
    values = cells if isinstance(cells, pd.Series) else pd.Series(cells, dtype=object)
    return fit(pd.DataFrame({"c": values}), readings={"c": Reading(False)} if category else None)


def category(fitted: Preprocessing, value: Any) -> str | None:
    """The category that a served value is taken for; None for none of them."""
    row = fitted.apply(pd.DataFrame({"c": pd.Series([value], dtype=object)}))[0]
    categories: list[str] = fitted.columns[0]["categories"]
    assert row.sum() in (0, 1)
    return categories[int(row.argmax())] if row.any() else None


PLANS, OLD_PLANS, ZIPS = ["1", "2", "3", "X"], ["1.0", "2.0", "X"], ["007", "012", "X"]
ANSWERS, DAYS = [True, False, None], list(pd.to_datetime(["2021-10-23", "2021-10-24T08:30"], format="ISO8601"))
WORDS, DAY_WORDS = ["red", "green", "red"], ["2021-10-23 00:00:00", "2021-10-24 08:30:00", "later"]


@pytest.mark.parametrize(
    ("training", "category_of", "served"),
    [
        (PLANS, "1", ["1", 1, 1.0, np.float32(1), Decimal("1.00")]),
        (PLANS, None, ["4", 4, "1.0", "Y", "01"]),
        (OLD_PLANS, "1.0", ["1.0", 1, 1.0, Decimal("1.00")]),
        (["1.0", "1.00", "X"], None, [1]),
        (["1.10", "1.1", "X"], "1.1", ["1.1", 1.1]),
        (ZIPS, "007", ["007"]),
        (ZIPS, None, ["7", "7.0", "12345"]),
        ([7, 8.0, "X"], "7", ["7", 7, 7.0]),
        ([Decimal("1.50"), Decimal("2")], "1.5", ["1.50", "1.5", 1.5, Decimal("1.5")]),
        ([Decimal("1.50"), Decimal("2")], None, ["9", "1e999999999", "1e9999999999999999999", "dear"]),
        (ANSWERS, "True", [True, np.True_, "True", "true", "TRUE"]),
        (["true", "false", "unsure"], "true", ["true", True]),
        (["true", "false", "unsure"], None, ["True", "perhaps"]),
        (DAYS, "2021-10-23", ["2021-10-23", "2021-10-23 00:00:00", "2021-10-23T00:00:00.000", date(2021, 10, 23)]),
        (DAYS, "2021-10-24T08:30:00", ["2021-10-24 08:30", DAYS[1], DAYS[1].to_pydatetime(), DAYS[1].to_datetime64()]),
        (DAYS, None, ["2022-01-01", "soon", date(2022, 1, 1)]),
        (DAY_WORDS, "2021-10-23 00:00:00", [DAYS[0], date(2021, 10, 23), DAY_WORDS[0]]),
        (WORDS, None, ["violet", "Red", "2021-10-23"]),
        (WORDS, "red", ["red", None, float("nan"), pd.NA, "", "NA", "null", "None", "nan"]),
        (["NA", "DE", "DE"], "NA", ["NA"]),
    ],
)
def test_what_training_knows_is_known_in_every_form(training: Any, category_of: str | None, served: list[Any]) -> None:
    fitted = fitted_on(training, category=isinstance(training[0], Decimal))
    assert {repr(value): category(fitted, value) for value in served} == {repr(v): category_of for v in served}


@pytest.mark.parametrize(
    ("training", "served"),
    [
        (WORDS, [201, 2.5, "201", "-2.5e3", True, "true", "FALSE", Decimal("2"), DAYS[0]]),
        (ANSWERS, [1, 0, "1", 201, DAYS[0]]),
        (PLANS, [True, "true"]),
        (ZIPS, [7, 7.0, True]),
        (DAYS, [1635000000000, "20211023", True]),
        ([1.0, 2.0], [True, "True", "one", date(2021, 10, 23), b"1", "1_0", " "]),
        (WORDS, [["red"], {"a": 1}, np.zeros(2)]),
    ],
)
def test_a_value_of_another_kind_is_refused_with_column_row_and_value(training: list[Any], served: list[Any]) -> None:
    fitted = fitted_on(pd.Series(training))
    for value in served:
        table = pd.DataFrame({"c": pd.Series([training[0], value], dtype=object)})
        with pytest.raises(ValueError, match=r"^column c must hold .*: row 2 holds ") as raised:
            fitted.apply(table)
        assert str(value)[:5] in str(raised.value) and "\n" not in str(raised.value)


def test_training_takes_what_serving_refuses_and_no_text_for_a_gap() -> None:
    table = pd.DataFrame({"c": ["red", "NA", "201"]})
    fitted = fit(table[:2])
    np.testing.assert_array_equal(fitted.apply(table, trained=True), [[0, 1], [1, 0], [0, 0]])


def test_codes_and_tokens_are_read_likewise() -> None:
    table = pd.DataFrame({"who": [7.0, 8.0, np.nan], "what": ["film 1", "film 2", "film 3"]})
    codes = fit_codes(table, ("who", "what"))
    assert codes.columns[0]["values"] == ["7", "8"], "nobody is called nan"
    for seven in (7, 7.0, "7", "007", "7.0", Decimal(7)):
        served = pd.DataFrame({"who": [seven, None, "9"], "what": ["film 2", "film 9", None]})
        np.testing.assert_array_equal(codes.apply(served), [[1, 2], [0, 0], [0, 0]])
    with pytest.raises(ValueError, match=r"^column what must hold .* row 1 holds '3', a number"):
        codes.apply(pd.DataFrame({"who": [7], "what": [3]}))
    texts = fit_tokens(pd.DataFrame({"t": [1.0, 25.0]}), "t", "words", 2, 10, "first")
    for text in ("25", "25.0", 25, 25.0):
        np.testing.assert_array_equal(texts.apply(pd.DataFrame({"t": [text]})), [[0, 3]])
    words = fit_tokens(pd.DataFrame({"t": ["none of 3", "true"]}), "t", "words", 2, 10, "first")
    np.testing.assert_array_equal(words.apply(pd.DataFrame({"t": ["None", None, 3, True]}))[:2], [[0, 0], [0, 0]])
    assert (words.apply(pd.DataFrame({"t": [3, True, "3", "true"]}))[:, 1] > 1).all()


def test_gaps_are_those_that_pandas_knows_and_a_source_may_have_its_own(tmp_path: Path) -> None:
    from pandas._libs.parsers import STR_NA_VALUES  # type: ignore[import-not-found]

    assert set(MISSING) == STR_NA_VALUES
    assert missing_signs("csv:a.csv") == MISSING and missing_signs("keel:german") == ("", *keel.MISSING)
    assert missing_signs("parquet:a.parquet") == ()
    table = pd.DataFrame({"word": ["NA", "red", "red"] * 20, "number": np.arange(60.0), "y": [1.0, 2, 3] * 20})
    table.to_parquet(tmp_path / "t.parquet")
    config = DataConfig.model_validate({"source": "parquet:t.parquet", "target": "y", "task": "regression"})
    parts = make_parts(load_table(config, str(tmp_path)), config)
    assert parts.preprocessing is not None and parts.preprocessing["missing"] == []
    fitted = Preprocessing.from_json(json.loads(json.dumps(parts.preprocessing)))
    np.testing.assert_array_equal(fitted.apply(table)[parts.rows["test"]], parts.x["test"])
    # In a CSV file a blank is a gap whatever the source was.
    served = fitted.read(io.StringIO("word,number\n,1\nnull,1\nNA,1\n"))
    assert fitted.apply(served)[:, :2].tolist() == [[0, 1], [0, 1], [1, 0]]


KINDS: dict[str, st.SearchStrategy[str]] = {
    "number": st.one_of(st.integers(-99, 99).map(str), st.decimals(-9, 9, places=3).map(str), st.just("")),
    "whole": st.integers(0, 9).map(lambda n: f"{n:03d}"),
    "plan": st.sampled_from(["1", "2", "3", "X", "1.0", "007", "7", "1.10", "1.1", "", "NA"]),
    "truth": st.sampled_from(["True", "false", "TRUE", ""]),
    "truth word": st.sampled_from(["true", "True", "maybe", "null"]),
    "day": st.sampled_from(["2021-10-23", "2021-10-24", "2021-10-23 08:30:00", ""]),
    "money": st.one_of(
        st.integers(-9999999, 9999999).map(lambda n: f"${n / 100:,.2f}"), st.sampled_from(["?", "", "5"])
    ),
    "comma": st.one_of(st.integers(-99, 99).map(lambda n: f"{n / 2}".replace(".", ",")), st.sampled_from(["-", "NA"])),
    "owed": st.one_of(st.integers(1, 9999).map(lambda n: f"({n:,}.5)"), st.integers(0, 99).map(str), st.just(" ")),
    "per cent": st.integers(0, 100).map(lambda n: f"{n} %"),
    "word": st.sampled_from(["red", "green", "Red", " red", "nan", "None", "a,b", 'a"b', "0x1"]),
}
STRANGE = st.sampled_from(
    [
        "201",
        "true",
        "violet",
        "",
        "1",
        "1.0",
        "2.5",
        "007",
        "NA",
        "2021-10-25",
        "9" * 20,
        "$1,003.29",
        "3,7",
        "(2)",
        "7%",
    ]
)


def as_csv(rows: list[list[str]]) -> io.StringIO:
    file = io.StringIO()
    csv.writer(file).writerows([list(KINDS), *rows])
    return io.StringIO(file.getvalue())


def as_json(rows: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(json.loads(rows.to_json(orient="records", double_precision=15)), columns=list(KINDS))


def answer(fitted: Preprocessing, table: pd.DataFrame) -> list[list[float]] | str:
    """The rows of x, or the words of the refusal without its row."""
    try:
        return list(map(list, fitted.apply(table)))
    except ValueError as error:
        return str(error)


@settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_row_is_read_alone_as_among_others_and_as_in_training(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    rows = data.draw(st.lists(st.tuples(*KINDS.values()).map(list), min_size=2, max_size=4))
    firsts = ["1.5", "004", "X", "True", "maybe", "2021-10-23", "$1.50", "1,5", "(1.5)", "1 %", "red"]
    seconds = [*firsts[:6], "$2.50", "2,5", "(2.5)", "2 %", "red"]
    rows = [firsts, seconds, *rows]  # no column is empty, and two numbers make one of numbers
    path = tmp_path_factory.getbasetemp() / "generated.csv"
    path.write_text(as_csv(rows).getvalue())
    table = read_csv(path)
    kinds = [fit(table), fit_codes(table, tuple(KINDS)), fit_tokens(table, "plan", "words", 2, 9, "first")]
    strange = [[data.draw(st.one_of(STRANGE, kind)) for kind in KINDS.values()] for _ in range(3)]
    for made in kinds:
        fitted = Preprocessing.from_json(json.loads(json.dumps(made.to_json())))
        wanted = list(map(list, fitted.apply(table, trained=True)))
        for form in (fitted.read(path), table, table.astype(object), table.convert_dtypes(), as_json(table)):
            assert answer(fitted, form) == wanted
            assert [answer(fitted, form.iloc[[row]]) for row in range(len(form))] == [[row] for row in wanted]
        for row, cells in enumerate(rows):
            assert answer(fitted, fitted.read(as_csv([cells]))) == [wanted[row]]
            assert answer(fitted, as_json(table.iloc[[row]])) == [wanted[row]]
        alone = [answer(fitted, fitted.read(as_csv([cells]))) for cells in strange]
        together = answer(fitted, fitted.read(as_csv([*strange, *rows])))
        refused = [each for each in alone if isinstance(each, str)]
        if refused:
            assert isinstance(together, str)
        else:
            assert together == [row for each in alone for row in each] + wanted
