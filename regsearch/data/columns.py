"""Raw columns to the model's input, from plain numbers: this file is shipped inside every deployed model.

It imports json, numpy and pandas alone, so that a served model needs no regsearch and no pickle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Preprocessing:
    """Fitted preprocessing of a table: one entry per raw column, in order.

    A numeric column becomes (value or median - mean) / scale; a categorical one becomes one 0/1 feature per category,
    the missing value standing for the most frequent category and an unknown one giving zeros.
    """

    columns: tuple[dict[str, Any], ...]

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Preprocessing:
        return cls(tuple(data["columns"]))

    def to_json(self) -> dict[str, Any]:
        return {"columns": list(self.columns)}

    def apply(self, table: pd.DataFrame) -> np.ndarray:
        """The features [N, F] float32 of a table's rows.

        Raises:
            ValueError: a column is missing, or a numeric one holds something else.
        """
        missing = [c["name"] for c in self.columns if c["name"] not in table.columns]
        if missing:
            raise ValueError(f"the table lacks the column(s) {', '.join(map(str, missing))}")
        parts = [_feature(column, table[column["name"]]) for column in self.columns]
        features: np.ndarray = np.concatenate(parts, axis=1).astype(np.float32)
        return features


def as_text(values: pd.Series) -> np.ndarray:
    """A categorical column as text, None where missing."""
    plain = values.astype(object)
    return np.array([None if pd.isna(value) else str(value) for value in plain], dtype=object)


def _feature(column: dict[str, Any], values: pd.Series) -> np.ndarray:
    if column["kind"] == "numeric":
        try:
            numbers = pd.to_numeric(values).to_numpy(dtype=np.float64, na_value=np.nan)
        except (TypeError, ValueError) as error:
            raise ValueError(f"column {column['name']} must hold numbers: {error}") from error
        numbers = np.where(np.isfinite(numbers), numbers, column["median"])
        scaled: np.ndarray = (numbers - column["mean"]) / column["scale"]
        return scaled[:, None]
    texts = as_text(values)
    filled = np.array([column["most_frequent"] if text is None else text for text in texts], dtype=object)
    return np.stack([filled == category for category in column["categories"]], axis=1).astype(np.float64)
