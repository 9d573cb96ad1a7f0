"""Arrays from a module: codes stay whole, and what cannot be used is refused with its row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from regsearch.config import DataConfig
from regsearch.data.arrays import arrays
from regsearch.errors import UserError

NUMBERS, CODES, Y = np.random.default_rng(0).normal(size=(5, 3)), np.arange(15).reshape(5, 3), np.zeros(5)


def config(task: str = "regression") -> DataConfig:
    return DataConfig.model_validate({"source": "python:rows:rows", "task": task})


def changed(values: Any, row: int, value: Any) -> Any:
    copy = np.array(values)
    copy[row, 1] = value
    return copy


@pytest.mark.parametrize(
    ("kind", "kept"), [("int64", "int64"), ("int32", "int64"), ("uint8", "float32"), ("float64", "float32")]
)
def test_numbers_become_float32_and_codes_stay_whole(kind: str, kept: str) -> None:
    found = arrays({"x": CODES.astype(kind), "y": Y}, config())
    assert found.x.dtype == np.dtype(kept)
    assert found.vocabulary == ((15,) if kept == "int64" else None)


def test_pairs_count_over_a_vocabulary_each_and_texts_over_one() -> None:
    pairs = arrays({"x": CODES[:, :2], "y": Y}, config("recommendation"))
    assert pairs.vocabulary == (13, 14)
    told = arrays({"x": CODES, "y": CODES + 1}, config("language_modelling"))
    assert told.vocabulary == (16,)
    assert told.tokens is not None
    np.testing.assert_array_equal(told.tokens, CODES + 1)
    assert arrays({"x": CODES, "y": Y, "vocabulary": 99}, config()).vocabulary == (99,)


RAGGED = [[1.0, 2.0], [3.0, 4.0], [5.0]]
BAD: list[tuple[str, dict[str, Any], str]] = [
    ("regression", {"x": RAGGED, "y": [1, 2, 3]}, "x has 1 values in row 3 and 2 in row 1.*pad codes with 0"),
    ("regression", {"x": np.array(RAGGED, dtype=object), "y": [1, 2, 3]}, "in row 3"),
    ("language_modelling", {"x": CODES, "y": [[1, 2, 3], [1, 2], *CODES[2:].tolist()]}, "y has 2 values in row 2"),
    ("regression", {"x": changed(NUMBERS, 2, np.nan), "y": Y}, "NaN or infinity in 1 of 5 rows, first in row 3"),
    ("regression", {"x": changed(NUMBERS, 4, np.inf), "y": Y}, "first in row 5"),
    ("classification", {"x": changed(CODES, 1, -1), "y": Y}, "negative code in 1 of 5 rows, first in row 2"),
    ("classification", {"x": CODES, "y": Y, "vocabulary": 10}, "outside the vocabulary in 2 of 5 rows, first in row 4"),
    ("recommendation", {"x": CODES, "y": Y}, "pairs of user and item"),
    ("recommendation", {"x": NUMBERS[:, :2], "y": Y}, "cannot be read as codes"),
    ("recommendation", {"x": CODES[:, :2], "y": Y, "vocabulary": [20, 5]}, "outside the vocabulary.*first in row 3"),
    ("language_modelling", {"x": CODES, "y": CODES[:, :2]}, "the token after each"),
    ("language_modelling", {"x": CODES, "y": changed(CODES, 3, -1)}, "first in row 4"),
    ("regression", {"x": CODES}, "lacks x or y"),
    ("regression", {"x": NUMBERS, "y": Y[:4]}, "5 rows and y 4"),
    ("regression", {"x": Y, "y": Y}, "shape"),
    ("regression", {"x": NUMBERS, "y": Y[:, None]}, r"y holds an array of shape \(1,\) in row 1"),
    ("classification", {"x": NUMBERS, "y": [0, 1, [1, 2], 0, 1]}, r"shape \(2,\) in row 3"),
    ("regression", {"x": np.array([["a"], ["b"]]), "y": [1, 2]}, "numbers"),
]


@pytest.mark.parametrize(("task", "given", "says"), BAD)
def test_bad_rows_are_named(task: str, given: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        arrays(given, config(task))
    assert caught.value.key == "data.source"
