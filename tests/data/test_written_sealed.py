"""Columns of numbers that are written as texts: sealed, said by the dry run, served, and named in the study file."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from regsearch.config import DataConfig, load_config
from regsearch.data import Manifest, describe_features, load_search_data, seal, verify_digest
from regsearch.data.columns import Preprocessing
from regsearch.data.parts import make_parts
from regsearch.data.rules import CutRules
from regsearch.data.sources import load_table
from regsearch.errors import UserError
from tests.fixtures import lay


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
    assert table.x["fee"].dtype == object
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
