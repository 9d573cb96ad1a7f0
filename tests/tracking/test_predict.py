"""The program that every deployed model carries: what it refuses, in one line, and what it takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from regsearch.tracking.mlflow.predict import Model, load
from tests.export.packages import TABLE, array_package, table_package

HEIGHT = "height | cm"


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("people") / "package"
    table_package(folder)
    return load(folder)


@pytest.mark.parametrize(
    ("table", "line"),
    [
        (TABLE.drop(columns=[HEIGHT]), rf"^the table lacks the column\(s\) {HEIGHT.replace('|', '.')}$"),
        (TABLE.assign(age=["old"] * 6), "^column age must hold numbers: .*old"),
        (TABLE.assign(age=[{"years": 1}] * 6), "^column age must hold numbers: "),
        (pd.concat([TABLE, TABLE[["age"]]], axis=1), "^the table has more than one column age$"),
        (TABLE.to_numpy(), r"^the model takes a table with named columns \(got ndarray\)$"),
    ],
)
def test_what_a_table_may_not_hold_is_named_in_a_line(people: Model, table: pd.DataFrame, line: str) -> None:
    with pytest.raises(ValueError, match=line) as raised:
        people(table)
    assert "\n" not in str(raised.value)


def test_strange_words_gaps_and_more_columns_are_answered(people: Model) -> None:
    answer = people(TABLE)
    assert list(answer.columns) == ["a", "b", "7"]
    np.testing.assert_allclose(answer.sum(axis=1), 1.0)
    pd.testing.assert_frame_equal(people(TABLE.assign(more=1)[["more", "colour", HEIGHT, "age"]]), answer)
    # A gap is the median, 41, or the most frequent word, red.
    pd.testing.assert_frame_equal(people(TABLE.fillna({"age": 41.0, "colour": "red"})), answer)
    violet, mauve = (people(TABLE.assign(colour=word)) for word in ("violet", "mauve"))
    pd.testing.assert_frame_equal(violet, mauve)
    assert len(people(TABLE[:0])) == 0 and list(people(TABLE[:0]).columns) == ["a", "b", "7"]
    np.testing.assert_allclose(people(TABLE[1:2]), answer[1:2], rtol=1e-6)


def test_arrays_have_a_shape_and_no_gaps(tmp_path: Path) -> None:
    module = array_package(tmp_path / "package")
    model, rows = load(tmp_path / "package"), np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32)
    with torch.no_grad():
        wanted = module(torch.from_numpy(rows)).softmax(1).numpy()
    np.testing.assert_allclose(model(rows), wanted, rtol=1e-5)
    np.testing.assert_allclose(model(pd.DataFrame(rows.reshape(5, 6))), wanted, rtol=1e-5)
    for bad in (rows[:, :1], rows[0], np.float32(1), [["a", "b"]], pd.DataFrame(rows.reshape(5, 6)[:, :5])):
        with pytest.raises(ValueError, match=r"^the model takes an array of the shape \(N, 2, 3\)"):
            model(bad)
    rows[3, 1, 2] = np.nan
    with pytest.raises(ValueError, match=r"^row 3 of the array holds a number that is missing or not finite$"):
        model(rows)


@pytest.mark.parametrize("bad", [11, -1, 0.5])
def test_codes_are_those_that_the_model_knows(tmp_path: Path, bad: float) -> None:
    array_package(tmp_path / "package", vocabulary=11)
    model = load(tmp_path / "package")
    assert model(np.array([[0, 3, 10]])).shape == (1, 3)
    with pytest.raises(ValueError, match=r"^the array must hold whole numbers from 0 to 10$"):
        model(np.array([[0, bad, 10]]))
