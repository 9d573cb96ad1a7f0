"""Marks of rows: what tells one test split from another, however it was prepared.

Legend: N rows, F features.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

if TYPE_CHECKING:
    from regsearch.data.arrays import Table
    from regsearch.data.parts import Parts

Marks = NDArray[np.uint64]


def marks_of_test(table: Table, parts: Parts) -> Marks:
    """Mark each test row by one number, [N] uint64, sorted: a hash of its raw features and its target.

    It is taken before preprocessing, of columns in the order of their names and numbers as float64: neither another
    order of rows or columns, nor another file format, nor other training rows change it. Two splits of one table with
    different seeds share the marks of the rows that both test on. Windows of a series and texts that are continued are
    marked as they are sealed, so there other training rows make another mark. What makes a row another row makes its
    mark another: a changed value, a column more or less, another target. What stays the same case then is told by the
    marks of its cells (`regsearch.data.cells`).
    """
    rows = parts.rows["test"]
    whole = len(parts.x["test"]) == len(rows) and table.task not in ("forecasting", "language_modelling")
    if not whole:
        marks = _of_arrays(parts.x["test"], parts.y["test"])
    elif isinstance(table.x, pd.DataFrame):
        marks = _of_columns(table.x.iloc[rows], table.y.iloc[rows])
    else:
        marks = _of_arrays(table.x[rows], table.y.iloc[rows].to_numpy())
    return np.sort(marks)


def digest(marks: Marks) -> str:
    """Hash the sorted marks by SHA-256: the key of the ledger."""
    return hashlib.sha256(np.ascontiguousarray(marks).tobytes()).hexdigest()


def _of_columns(x: pd.DataFrame, y: pd.Series) -> Marks:
    named = [*((str(name), x[name]) for name in x.columns), ("", y)]
    ordered = [_plain(column).reset_index(drop=True) for _, column in sorted(named, key=lambda each: each[0])]
    frame = pd.concat(ordered, axis=1, keys=range(len(ordered)))
    return np.asarray(pd.util.hash_pandas_object(frame, index=False), dtype=np.uint64)


def _plain(column: pd.Series) -> pd.Series:
    return column.astype("float64") if pd.api.types.is_numeric_dtype(column) else column.astype("str")


def _of_arrays(x: np.ndarray, y: np.ndarray) -> Marks:
    labels = y.astype(np.float64) if y.dtype.kind in "biuf" else y.astype(str)
    each = (
        hashlib.blake2b(row.astype(np.float64).tobytes() + np.asarray(label).tobytes(), digest_size=8).digest()
        for row, label in zip(x, labels, strict=True)
    )
    return np.frombuffer(b"".join(each), dtype=np.uint64)
