"""Raw columns to the model's input, from plain numbers: this file is shipped inside every deployed model.

It imports re, numpy and pandas alone, so that a served model needs no regsearch and no pickle.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

PADDING, UNKNOWN, FIRST = 0, 1, 2
CODES = ("code", "tokens")


@dataclass(frozen=True)
class Preprocessing:
    """Fitted preprocessing of a table: one entry per raw column, in order.

    A numeric column becomes (value or median - mean) / scale, held between `low` and `high` where it has these, or the
    normal score of its place among `quantiles`; a categorical one becomes one 0/1 feature per category,
    the missing value standing for the most frequent category and an unknown one giving zeros. A column of kind `code`
    becomes the number of its value, counted from 1, 0 where training knew none such; one of kind `tokens` the codes of
    its words or characters: 0 pads on the left, 1 is unknown, known ones count from 2.

    Args:
        shape: of a row of x, where it is another than one axis of features.
        window: rows of the table that make one row of x, for forecasts: every run of so many that follow one another.
    """

    columns: tuple[dict[str, Any], ...]
    shape: tuple[int, ...] | None = None
    window: int | None = None

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Preprocessing:
        shape = data.get("shape")
        return cls(tuple(data["columns"]), None if shape is None else tuple(shape), data.get("window"))

    def to_json(self) -> dict[str, Any]:
        rest = {"shape": None if self.shape is None else list(self.shape), "window": self.window}
        return {"columns": list(self.columns), **{key: value for key, value in rest.items() if value is not None}}

    def apply(self, table: pd.DataFrame) -> np.ndarray:
        """The rows of x of a table [N...]: float32, or int64 where the columns are codes.

        Raises:
            ValueError: a column is missing, or a numeric one holds something else, or there are fewer rows than one
                window has.
        """
        missing = [c["name"] for c in self.columns if c["name"] not in table.columns]
        if missing:
            raise ValueError(f"the table lacks the column(s) {', '.join(map(str, missing))}")
        parts = [_feature(column, table[column["name"]]) for column in self.columns]
        codes = any(column["kind"] in CODES for column in self.columns)
        features: np.ndarray = np.concatenate(parts, axis=1).astype(np.int64 if codes else np.float32)
        if self.shape is not None:
            features = features.reshape(len(features), *self.shape)
        return features if self.window is None else windows(features, self.window)


def windows(rows: np.ndarray, size: int) -> np.ndarray:
    """Every run of `size` rows [N, F] that follow one another, oldest first: [N - size + 1, size, F].

    Raises:
        ValueError: there are fewer rows than that.
    """
    if len(rows) < size:
        raise ValueError(f"the table has {len(rows)} rows, and a forecast sees {size}")
    return np.lib.stride_tricks.sliding_window_view(rows, size, axis=0).swapaxes(1, 2)


def as_text(values: pd.Series) -> np.ndarray:
    """A categorical column as text, None where missing."""
    plain = values.astype(object)
    return np.array([None if pd.isna(value) else str(value) for value in plain], dtype=object)


def as_key(value: Any) -> str:
    """A user's or item's name as text; 7 and 7.0 are the same one."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def tokens(text: Any, level: str) -> list[str]:
    """The characters of a text, or its words in small letters; none where it is missing."""
    if text is None or text is pd.NA or (isinstance(text, float) and np.isnan(text)):
        return []
    return list(str(text)) if level == "characters" else re.findall(r"\w+(?:'\w+)*", str(text).lower())


def coded(words: list[str], column: dict[str, Any]) -> list[int]:
    """The codes of tokens in a column's vocabulary."""
    known = {token: code for code, token in enumerate(column["vocabulary"], FIRST)}
    return [known.get(word, UNKNOWN) for word in words]


def _feature(column: dict[str, Any], values: pd.Series) -> np.ndarray:
    if column["kind"] == "code":
        known = {value: code for code, value in enumerate(column["values"], 1)}
        return np.array([known.get(as_key(value), 0) for value in values.astype(object)], dtype=np.int64)[:, None]
    if column["kind"] == "tokens":
        return _padded(column, values)
    if column["kind"] == "numeric":
        try:
            numbers = pd.to_numeric(values).to_numpy(dtype=np.float64, na_value=np.nan)
        except (TypeError, ValueError) as error:
            raise ValueError(f"column {column['name']} must hold numbers: {error}") from error
        numbers = np.where(np.isfinite(numbers), numbers, column["median"])
        return _scaled(numbers, column)[:, None]
    texts = as_text(values)
    filled = np.array([column["most_frequent"] if text is None else text for text in texts], dtype=object)
    return np.stack([filled == category for category in column["categories"]], axis=1).astype(np.float64)


def _scaled(numbers: np.ndarray, column: dict[str, Any]) -> np.ndarray:
    """Numbers [N] as the column's entry says; one of an earlier version has no bounds."""
    if "quantiles" in column:
        quantiles, scores = (np.array(column[name]) for name in ("quantiles", "scores"))
        # Where many values are equal the two ends of their run are met half way.
        below, above = np.interp(numbers, quantiles, scores), np.interp(-numbers, -quantiles[::-1], -scores[::-1])
        middle: np.ndarray = (below - above) / 2
        return middle
    scaled: np.ndarray = (numbers - column["mean"]) / column["scale"]
    return np.clip(scaled, column["low"], column["high"]) if "low" in column else scaled


def _padded(column: dict[str, Any], values: pd.Series) -> np.ndarray:
    """Codes [N, length], padded on the left; a text too long keeps its first tokens, or its last where it goes on."""
    length, known = column["length"], {token: code for code, token in enumerate(column["vocabulary"], FIRST)}
    codes = np.full((len(values), length), PADDING, dtype=np.int64)
    for row, text in enumerate(values.astype(object)):
        words = tokens(text, column["level"])
        words = words[-length:] if column["keep"] == "last" else words[:length]
        if words:
            codes[row, -len(words) :] = [known.get(word, UNKNOWN) for word in words]
    return codes
