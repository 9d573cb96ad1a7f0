"""Marks of raw cells: whether two tests hold the same cases, whichever columns each of them was given.

The cells are those of the source's own rows, before anything is dropped, chosen as target, filled in or scaled. Two
tests are compared on the columns that they share: those of one name that have values in common, those that hold the
same values whatever they are called, and those of which single values stand in no other column. A row of one test is
a row of the other where all shared columns agree.

What this sees: columns that are dropped or left out of the file, renamed or reordered; another column as target; other
windows of a series and other lengths of a text; arrays made from a table. What it does not: columns of which fewer
than half are as they were in the other file (scaled or rounded beforehand), and rows that the shared columns do not
tell apart, unless the two tests as wholes are equal on them. Rows that are equal in every cell count as one case.

The marks are 32-bit hashes. They say nothing by themselves, but a cell of few possible values can be guessed from them:
a ledger is as confidential as the tables that it is of.

Legend: N rows, K columns.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from regsearch.data.arrays import Table
    from regsearch.data.parts import Parts

Array = np.ndarray

COLUMNS = 64
"""Columns of which marks are made, at most: those of the most distinct values."""
CELLS = 1 << 24
"""Cells of which marks are made, at most (64 MiB), as long as eight columns are left."""
_APART = 0.99
"""Of the rows that all columns tell apart, the share that the shared columns must."""
_DISTINCT = 8
"""Distinct rows, at least, by which two tests of equal rows are taken for one."""
_VOTES = 3
"""Single values in common, at least, by which columns without a common name are taken for one."""
_COMPARED = 1 << 15
"""Cells, about, by which columns without a common name are compared: of larger tests a sample by their marks."""
_MISSING = np.uint32(0)


@dataclass(frozen=True)
class Cells:
    """Marks of the raw cells of test rows.

    Args:
        names: of the columns, [K]; empty text for those of arrays.
        wholes: one mark a column, of its cells whatever their order, [K] uint64.
        marks: one mark a cell, [N, K] uint32.
    """

    names: Array
    wholes: Array
    marks: Array

    def write(self, file: IO[bytes]) -> None:
        """Write the cells of a table."""
        np.savez(file, names=self.names, wholes=self.wholes, marks=self.marks)

    @classmethod
    def read(cls, path: Path) -> Cells | None:
        """Read the marks in a file; None where there is none or it cannot be read."""
        try:
            with np.load(path, allow_pickle=False) as file:
                return cls(file["names"], file["wholes"], file["marks"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None


def cells_of_test(table: Table, parts: Parts) -> Cells:
    """Mark the cells of a split's test rows, or of the rows of a series that its test predicts."""
    rows = parts.rows["test"] if parts.cases is None else parts.cases
    if table.raw is not None:
        columns = [_of_column(table.raw.iloc[rows, place]) for place in range(table.raw.shape[1])]
        names = np.array([str(name) for name in table.raw.columns], dtype=str)
        return _most_distinct(names, np.stack(columns, axis=1))
    assert not isinstance(table.x, pd.DataFrame), "a table of columns is kept as it was read"
    y = table.y.iloc[rows] if table.tokens is None else pd.Series(np.zeros(len(rows)))
    flat = [table.x[rows].reshape(len(rows), -1)]
    flat += [] if table.tokens is None else [table.tokens[rows].reshape(len(rows), -1)]
    marks = [_of_numbers(np.asarray(each, dtype=np.float64).ravel()).reshape(each.shape) for each in flat]
    whole = np.concatenate([*marks, _of_column(y)[:, None]], axis=1)
    return _most_distinct(np.full(whole.shape[1], "", dtype=str), whole)


def shared_rows(own: Cells, other: Cells) -> tuple[Array, Array]:
    """Tell which rows of each test are cases of the other too, two arrays of bool."""
    pairs = _pairs(own, other)
    sizes = own.marks.shape[1], other.marks.shape[1]
    none = np.zeros(len(own.marks), dtype=bool), np.zeros(len(other.marks), dtype=bool)
    if len(pairs) < min(2, *sizes) or 2 * len(pairs) < min(sizes):
        return none
    ours, theirs = _rows(own.marks[:, [j for j, _ in pairs]]), _rows(other.marks[:, [k for _, k in pairs]])
    if len(pairs) < max(sizes):
        equal = len(ours) == len(theirs) and bool((np.sort(ours) == np.sort(theirs)).all())
        known = equal and len(np.unique(ours)) >= _DISTINCT
        if not known and not (_apart(ours, own) and _apart(theirs, other)):
            return none
    return np.isin(ours, theirs), np.isin(theirs, ours)


def _apart(rows: Array, cells: Cells) -> bool:
    return len(np.unique(rows)) >= _APART * len(np.unique(_rows(cells.marks)))


def _rows(marks: Array) -> Array:
    """One number a row [N] uint64 of its marks, in their order."""
    return np.asarray(pd.util.hash_pandas_object(pd.DataFrame(marks), index=False), dtype=np.uint64)


def _of_column(values: pd.Series) -> Array:
    """Marks [N] of cells: numbers by their value, also those that are written as text; other cells by their text."""
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_complex_dtype(values):
        return _of_numbers(values.to_numpy(dtype=np.float64, na_value=np.nan))
    missing = values.isna().to_numpy()
    texts = values.astype(object).astype(str)
    numbers = pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    words = _narrow(pd.util.hash_array(texts.to_numpy(dtype=object)))
    return np.where(missing, _MISSING, np.where(np.isnan(numbers), words, _of_numbers(numbers)))


def _of_numbers(values: Array) -> Array:
    """Marks [N] of numbers. Fractions count in single precision, as arrays hold them; zero has no sign."""
    with np.errstate(over="ignore", invalid="ignore"):
        single = values.astype(np.float32).astype(np.float64)
    plain = np.where(values == np.round(values), values, single) + 0.0
    return np.where(np.isnan(values), _MISSING, _narrow(pd.util.hash_array(plain)))


def _narrow(hashes: Array) -> Array:
    return (np.asarray(hashes, dtype=np.uint64) >> np.uint64(32)).astype(np.uint32)


def _most_distinct(names: Array, marks: Array) -> Cells:
    """The columns that are kept, in their order."""
    ordered = np.sort(marks, axis=0)
    distinct = (ordered[1:] != ordered[:-1]).sum(0)
    most = min(COLUMNS, max(8, CELLS // max(1, len(marks))))
    chosen = np.sort(np.argsort(-distinct, kind="stable")[:most])
    wholes = _rows(ordered.T[chosen])
    return Cells(names[chosen], wholes, np.ascontiguousarray(marks[:, chosen]))


def _pairs(own: Cells, other: Cells) -> list[tuple[int, int]]:
    """The columns that both tests have, each by its place here and there."""
    places = {name: k for k, name in enumerate(other.names.tolist()) if name}
    named = [(j, places[name]) for j, name in enumerate(own.names.tolist()) if name in places]
    pairs = {j: k for j, k in named if np.isin(own.marks[:, j], other.marks[:, k]).any()}
    for find in (_equal, _alike):
        ours = np.setdiff1d(np.arange(len(own.names)), list(pairs))
        theirs = np.setdiff1d(np.arange(len(other.names)), list(pairs.values()))
        if len(ours) and len(theirs):
            pairs |= find(own, other, ours, theirs)
    return sorted(pairs.items())


def _equal(own: Cells, other: Cells, ours: Array, theirs: Array) -> dict[int, int]:
    """Columns that hold the same cells, where no second one does."""
    columns = []
    for cells, free in ((own, ours), (other, theirs)):
        wholes, first, counts = np.unique(cells.wholes[free], return_index=True, return_counts=True)
        columns.append(dict(zip(wholes[counts == 1].tolist(), free[first[counts == 1]].tolist(), strict=True)))
    return {j: columns[1][whole] for whole, j in columns[0].items() if whole in columns[1]}


def _alike(own: Cells, other: Cells, ours: Array, theirs: Array) -> dict[int, int]:
    """Columns that share the most values which stand in no other column, each the best match of the other."""
    below = min(1.0, _COMPARED / max(own.marks.size, other.marks.size)) * 2**32
    (here, from_here), (there, from_there) = (
        _of_one_column(cells.marks[:, free], below) for cells, free in ((own, ours), (other, theirs))
    )
    _, i, j = np.intersect1d(here, there, assume_unique=True, return_indices=True)
    votes = np.zeros((len(ours), len(theirs)), dtype=np.int64)
    np.add.at(votes, (from_here[i], from_there[j]), 1)
    best = votes.argmax(1)
    mutual = (votes.argmax(0)[best] == np.arange(len(ours))) & (votes.max(1) >= _VOTES)
    return {int(ours[row]): int(theirs[best[row]]) for row in np.flatnonzero(mutual)}


def _of_one_column(marks: Array, below: float) -> tuple[Array, Array]:
    """The marks [N, K] below a number that stand in one column only, ascending, and in which."""
    rows, columns = np.nonzero(marks < below)
    held = np.unique((marks[rows, columns].astype(np.uint64) << np.uint64(8)) | columns.astype(np.uint64))
    single, first, counts = np.unique(held >> np.uint64(8), return_index=True, return_counts=True)
    return single[counts == 1], (held[first[counts == 1]] & np.uint64(255)).astype(np.int64)
