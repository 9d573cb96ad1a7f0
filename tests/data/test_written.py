"""Numbers that are written as texts are numbers; what cannot be told is refused in a line that says what to write."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from regsearch.config import DataConfig, load_config
from regsearch.data import Manifest, describe_features, load_search_data, seal, verify_digest
from regsearch.data.columns import Preprocessing, read_numbers
from regsearch.data.parts import make_parts
from regsearch.data.rules import CutRules
from regsearch.data.sources import load_table
from regsearch.data.written import read_columns
from regsearch.errors import UserError
from tests.fixtures import lay

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


# --- sealed, said and served ------------------------------------------------------------------------------------------


def customers(rows: int = 120) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    income, debt = draw.uniform(500, 9000, rows), draw.normal(0, 900, rows)
    return pd.DataFrame(
        {
            "income": [f"${value:,.2f}" for value in income],
            "debt": [f"({-value:,.2f})" if value < 0 else f"{value:,.2f}" for value in debt],
            "weight": [f"{value:.1f}".replace(".", ",") for value in draw.normal(75, 12, rows)],
            "age": np.where(np.arange(rows) % 8 == 0, "?", draw.integers(18, 90, rows).astype(str)),
            "zip": draw.choice([10115, 20095, 80331], rows),
            "y": np.arange(rows) % 2,
        }
    )


def config_of(**more: Any) -> DataConfig:
    return DataConfig.model_validate({"source": "csv:t.csv", "target": "y", "task": "classification", **more})


def sealed(folder: Path, frame: pd.DataFrame, **more: Any) -> Manifest:
    frame.to_csv(folder / "t.csv", index=False)
    return seal(config_of(**more), str(folder), folder / "data")


def test_each_column_is_a_feature_and_the_dry_run_says_how_it_is_read(tmp_path: Path) -> None:
    frame = customers()
    manifest = sealed(tmp_path, frame, columns={"zip": {"kind": "category"}})
    assert manifest.inputs == (4 + 3,)
    said = describe_features(manifest)
    assert said["income"].startswith("1 number, written like $") and said["weight"].startswith(
        "1 number, written like "
    )
    assert (
        said["age"].startswith('1 number; "?" is a gap; ') and "training rows lack it and get the median" in said["age"]
    )
    assert said["zip"] == "3 categories, a feature each: 10115, 20095, 80331"
    train = load_search_data(tmp_path / "data").train_x
    assert len(np.unique(train[:, 0])) > 60, "and no constant"


def test_one_sign_in_a_row_of_the_test_does_not_make_words_of_a_column(tmp_path: Path) -> None:
    """What a column's texts are is told by all rows, like the types of a CSV file."""
    frame = customers().assign(age=np.arange(120).astype(str), part=np.repeat(["train", "validation", "test"], 40))
    frame.loc[119, "age"] = "?"
    manifest = sealed(tmp_path, frame, split={"by": {"column": "part"}})
    assert manifest.inputs == (5,)
    assert manifest.written is not None and manifest.written["age"] == ""
    frame.loc[119, "income"] = "$99,999,999.99"
    assert "99,999,999" not in json.dumps(describe_features(sealed(tmp_path, frame, split={"by": {"column": "part"}})))


def served(config: DataConfig, folder: Path) -> tuple[Preprocessing, np.ndarray]:
    parts = make_parts(load_table(config, str(folder)), config)
    return Preprocessing.from_json(json.loads(json.dumps(parts.preprocessing))), parts.x["test"]


def test_a_number_and_its_text_are_answered_alike(tmp_path: Path) -> None:
    customers().to_csv(tmp_path / "t.csv", index=False)
    fitted, _ = served(config_of(), tmp_path)
    plain = {"income": 1003.29, "debt": -12.5, "weight": 70.5, "age": None, "zip": 10115}
    texts = {"income": "$1,003.29", "debt": "(12.50)", "weight": "70,5", "age": "?", "zip": "10115"}
    wanted = fitted.apply(pd.DataFrame([plain]))
    np.testing.assert_array_equal(fitted.apply(pd.DataFrame([texts])), wanted)
    np.testing.assert_array_equal(fitted.apply(pd.DataFrame([texts | {"income": "1003.29", "debt": "-12.5"}])), wanted)
    np.testing.assert_array_equal(fitted.apply(pd.DataFrame([texts | {"income": Decimal("1003.29")}])), wanted)


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("income", "1.003,29", "no number with '.' before its decimals"),
        ("income", "€5", "no number"),
        ("income", "dear", "no number"),
        ("income", True, "a truth value: write 1 or 0"),
        ("income", "?", "no number"),  # a sign that the column never had
        ("weight", "70.5", "no number with ',' before its decimals"),
        ("age", "1,234", "no number"),  # nothing tells what a comma is there
        ("age", "true", "a truth value: write 1 or 0"),
        ("debt", "(12.50", "no number"),
        ("debt", "(-12.50)", "no number"),
    ],
)
def test_a_text_that_is_written_otherwise_is_refused(tmp_path: Path, column: str, value: Any, why: str) -> None:
    customers().to_csv(tmp_path / "t.csv", index=False)
    fitted, _ = served(config_of(), tmp_path)
    rows = fitted.read(tmp_path / "t.csv")[:2].astype(object)
    rows.loc[1, column] = value
    with pytest.raises(ValueError, match=rf"^column {column} must hold numbers: row 2 holds .*{why}"):
        fitted.apply(rows)


def test_decimals_of_a_parquet_file_are_numbers(tmp_path: Path) -> None:
    draw = np.random.default_rng(0).integers(0, 10000, 120)
    cells = [None if number % 9 == 0 else Decimal(int(number)) / 100 for number in draw]
    pd.DataFrame({"fee": cells, "row": np.arange(120), "y": np.arange(120) % 2}).to_parquet(tmp_path / "t.parquet")
    config = config_of(source="parquet:t.parquet")
    table = load_table(config, str(tmp_path))
    assert table.x["fee"].dtype == object  # type: ignore[index]
    parts = make_parts(table, config)
    assert parts.x["train"].shape == (72, 2) and parts.about["filled"]["fee"] > 0
    assert "written" not in parts.preprocessing["columns"][0]  # type: ignore[index]
    assert {type(row[0]) for row in parts.example["data"]} <= {float, type(None)}
    kept = make_parts(table, config_of(source="parquet:t.parquet", columns={"fee": {"kind": "category"}}))
    assert kept.x["train"].shape[1] > 30 and kept.preprocessing["columns"][0]["holds"] == "numbers"  # type: ignore[index]


def test_the_comma_of_the_study_file_is_read_in_cells_that_pandas_takes_for_numbers(tmp_path: Path) -> None:
    """1.234 in each row is a number to pandas; the author says that it is 1234."""
    frame = pd.DataFrame({"paid": [f"{1 + row % 9}.{row:03d}" for row in range(120)], "y": np.arange(120) % 2})
    frame.to_csv(tmp_path / "t.csv", index=False)
    for decimal, factor in ((None, 1), (",", 1000)):
        asked = {"columns": {"paid": {"decimal": decimal}}} if decimal else {}
        fitted, _ = served(config_of(**asked), tmp_path)
        assert fitted.columns[0]["kind"] == "numeric"
        assert 1.0 * factor < fitted.columns[0]["median"] < 9.2 * factor


def test_a_forecast_reads_its_columns_likewise(tmp_path: Path) -> None:
    rows = 80
    frame = pd.DataFrame({"day": np.arange(rows)[::-1], "paid": [f"${row},000.5" for row in range(1, rows + 1)]})
    frame["y"] = np.arange(rows) / 7
    more = {"task": "forecasting", "window": 4, "split": {"by": {"time": "day"}}}
    manifest = sealed(tmp_path, frame, **more)
    assert manifest.inputs == (4, 2) and manifest.written == {"paid": f"${manifest_like(manifest)},000.5"}
    frame.loc[7, "paid"] = "1.234,5"
    with pytest.raises(UserError, match=r"'\$1,000.5' in row 1 and '1.234,5' in row 8"):
        sealed(tmp_path, frame, **more)


def manifest_like(manifest: Manifest) -> str:
    assert manifest.written is not None
    return manifest.written["paid"][1:].partition(",")[0]


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({"columns": {"incom": {"kind": "number"}}}, "data.columns: no such column (got 'incom')"),
        (
            {"columns": {"y": {"kind": "category"}}},
            "data.columns: is the target, which cannot serve here too (got 'y')",
        ),
        (
            {"columns": {"age": {"kind": "number"}}, "drop": ["age"]},
            "data.columns: is left out by data.drop (got 'age')",
        ),
        ({"columns": {"zip": {"kind": "category"}}, "split": {"by": {"group": "zip"}}}, "is no feature (got 'zip')"),
        ({"columns": {"zip": {"kind": "category"}}, "text": {"column": "income"}}, "is no feature (got 'zip')"),
        ({"columns": {"zip": {"kind": "category"}}, "text": {"column": "zip"}}, "becomes codes (got 'zip')"),
        ({"columns": {"zip": {"kind": "category"}}, "source": "sklearn:digits"}, "no such column (got 'zip')"),
    ],
)
def test_only_columns_that_are_features_may_be_named(tmp_path: Path, more: dict[str, Any], line: str) -> None:
    customers().to_csv(tmp_path / "t.csv", index=False)
    config = config_of(**({"target": None} if "source" in more else {}), **more)
    with pytest.raises(UserError) as refused:
        make_parts(load_table(config, str(tmp_path)), config)
    assert line in str(refused.value)


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        ("{zip: {kind: word}}", "data.columns.zip.kind: cannot be used (got 'word'); allowed are number, category"),
        ("{zip: {decimal: ;}}", "data.columns.zip.decimal: cannot be used (got ';'); allowed are ., ,"),
        ("{zip: {sort: number}}", "data.columns.zip.sort: unknown key (got 'number'); allowed are kind, decimal"),
        ("{zip: category}", "data.columns.zip: cannot be used (got 'category'); allowed are kind, decimal"),
        ("[zip]", "data.columns: cannot be used (got ['zip']); allowed are names of columns"),
        ('{zip: {kind: category, decimal: ","}}', "data.columns.zip.decimal: means nothing for a category (got ',')"),
    ],
)
def test_the_section_is_refused_in_a_line(tmp_path: Path, columns: str, line: str) -> None:
    file = tmp_path / "s.yaml"
    data = f'{{source: "csv:t.csv", target: y, task: classification, columns: {columns}}}'
    file.write_text(f"name: s\ndata: {data}\nmodel: {{name: mlp}}\n")
    with pytest.raises(UserError) as refused:
        load_config(file)
    assert line in str(refused.value)


def test_a_study_of_an_earlier_form_is_cut_as_it_was(tmp_path: Path) -> None:
    folder = lay("before-0.3.0", "texts-killed", tmp_path)
    config = DataConfig.model_validate({"source": "csv:cases.csv", "task": "classification", "target": "ill"})
    known = Manifest.load(folder / "data")
    assert known.rules == CutRules(every_row=True, numbers_in_texts=False) and known.inputs == (41,)
    verify_digest(config, str(tmp_path), folder / "data")
    again = seal(config, str(tmp_path), tmp_path / "again", like=known)
    assert again == known, "one that is fetched stays one of its version"
    new = seal(config, str(tmp_path), tmp_path / "new")
    assert new.digest != known.digest and new.inputs == (6,) and new.test_digest == known.test_digest


def test_data_of_an_earlier_form_keep_their_words(tmp_path: Path) -> None:
    frame = customers()
    now = sealed(tmp_path, frame)
    like = replace(now, written=None)
    before = seal(config_of(), str(tmp_path), tmp_path / "before", like=like)
    assert before.written is None and before.inputs[0] > 150 and before.digest != now.digest
    verify_digest(config_of(), str(tmp_path), tmp_path / "before")
    verify_digest(config_of(), str(tmp_path), tmp_path / "data")
    assert seal(config_of(), str(tmp_path), tmp_path / "again", like=before) == before
