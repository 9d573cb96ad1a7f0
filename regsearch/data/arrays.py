"""Rows as they come from a source: tables of columns, and arrays, which are checked here row by row.

Legend: N rows, F features, L positions of a text.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from regsearch.config.words import nearest
from regsearch.errors import UserError

if TYPE_CHECKING:
    from regsearch.config import DataConfig

Array = np.ndarray
_OF_CODES = ("recommendation", "language_modelling")


@dataclass(frozen=True)
class Table:
    """Raw rows.

    Args:
        x: a DataFrame of columns, or an array [N, F...]; integers in it are codes.
        y: the raw targets; zeros where the task needs none.
        task, target: as resolved; `target` is empty where there is none.
        tokens: the targets of arrays of texts, [N, L].
        vocabulary: how many codes each position of an array of codes counts over.
        raw: every column of the source as it was read; None where it gave arrays.
    """

    x: pd.DataFrame | np.ndarray
    y: pd.Series
    task: str
    target: str
    tokens: np.ndarray | None = None
    vocabulary: tuple[int, ...] | None = None
    raw: pd.DataFrame | None = None


def columns_in_words(columns: Iterable[object]) -> str:
    """List at most a dozen of the columns in words: `the columns are a, b, ...`."""
    names = list(map(str, columns))
    more = f" and {len(names) - 12} more" if names[12:] else ""
    return f"the columns are {', '.join(names[:12])}{more}"


def no_column(table: Table, key: str, name: object) -> UserError:
    """Make the error that refuses a column which the source does not have, or which the study uses for something else.

    Args:
        key: the key of the study file that names it.
    """
    if table.raw is None:
        return UserError("no such column", key=key, value=name, allowed="this source gives arrays, not columns")
    columns = columns_in_words(table.raw.columns)
    if name == table.target:
        return UserError("is the target, which cannot serve here too", key=key, value=name, allowed=columns)
    if name in table.raw.columns:
        return UserError("is left out by data.drop", key=key, value=name, allowed=f"take it out of drop; {columns}")
    near = nearest(name, map(str, table.raw.columns))
    return UserError("no such column", key=key, value=name, allowed=f"{columns}{near}")


LARGEST = float(np.finfo(np.float32).max)
"""What single precision holds, in which models compute."""


def arrays(given: Mapping[str, Any], config: DataConfig) -> Table:
    """Make a table of a mapping of `x` [N, F...] and `y` [N] (texts to be continued: both [N, L]).

    `x` of 32- or 64-bit integers holds codes, which models look up (0 is padding, or unknown); any other numbers become
    float32. `vocabulary` in the mapping says how many codes there are; by default as many as the largest needs.

    Raises:
        UserError: something is missing, or rows differ in length, or hold what is not finite or no code; names the row.
    """
    needed = {"x"} if config.task == "clustering" else {"x", "y"}
    if not needed <= set(given):
        raise _bad("the mapping lacks x or y", config, "arrays x and y")
    x = _rows(given["x"], "x", config)
    if np.issubdtype(x.dtype, np.integer) and x.dtype.itemsize >= 4:
        vocabulary = _vocabulary(x, given.get("vocabulary"), config)
        x = x.astype(np.int64)
    else:
        _refuse(~np.isfinite(x), "x holds NaN or infinity", config)
        _refuse(np.abs(x) > LARGEST, f"x holds a number beyond ±{LARGEST:.2g}", config)
        vocabulary, x = None, x.astype(np.float32)
    if vocabulary is None and config.task in _OF_CODES:
        raise _bad(f"x of type {found_type(given['x'])} cannot be read as codes", config, "whole numbers, 64 bits")
    if config.task == "language_modelling":
        return _texts(x, _rows(given["y"], "y", config), vocabulary, config)
    y = pd.Series(
        _targets(given["y"], config) if "y" in given else np.zeros(len(x), np.int64), name=config.target or "target"
    )
    if len(x) != len(y):
        raise _bad(f"x has {len(x)} rows and y {len(y)}", config)
    return Table(x, y, str(config.task), str(y.name) if "y" in given else "", vocabulary=vocabulary)


def check_cells(frame: pd.DataFrame, config: DataConfig) -> None:
    """Refuse a table in whose cells stand lists or numbers beyond `LARGEST`; what is missing is filled in later.

    Raises:
        UserError: names the column and the row.
    """
    for name in frame.columns:
        values = frame[name]
        if pd.api.types.is_numeric_dtype(values):
            refuse_far(name, values.to_numpy(dtype=np.float64, na_value=np.nan), config)
        elif values.dtype == np.dtype(object):
            bad = np.array([isinstance(value, list | tuple | dict | set | np.ndarray) for value in values], dtype=bool)
            allowed = "cells hold one value each; for sequences return a mapping of arrays x and y"
            _refuse(bad, f"column {name} holds several values in a cell", config, allowed)


def refuse_far(name: Hashable, numbers: Array, config: DataConfig) -> None:
    """Refuse the numbers [N] of a column among which one is infinite or beyond `LARGEST`.

    Raises:
        UserError: names the column and the row.
    """
    sizes, allowed = np.abs(numbers), "leave the value out: what is missing is filled in"
    _refuse(np.isinf(sizes), f"column {name} holds infinity", config, allowed)
    _refuse(sizes > LARGEST, f"column {name} holds a number beyond ±{LARGEST:.2g}", config, allowed)


def found_type(values: object) -> str:
    """Name the type of an array's numbers."""
    return str(np.asarray(values).dtype)


def _texts(x: Array, y: Array, vocabulary: tuple[int, ...] | None, config: DataConfig) -> Table:
    if x.shape != y.shape:
        raise _bad(f"x has the shape {x.shape} and y {y.shape}", config, "y holds the token after each of x")
    most = max(*(vocabulary or (1,)), int(y.max(initial=0)) + 1)
    _refuse((y < 0) | (y >= most), "y holds a code outside the vocabulary", config, f"codes from 0 to {most - 1}")
    nothing = pd.Series(np.zeros(len(x), dtype=np.int64))
    return Table(x, nothing, "language_modelling", "", y.astype(np.int64), (most,))


def _targets(values: Any, config: DataConfig) -> Array:
    """One value a row; rows of several are refused."""
    shapes = [np.shape(row) for row in values]
    other = next((row for row, shape in enumerate(shapes) if shape), None)
    if other is not None:
        allowed = "one value a row is needed: y of shape [rows]"
        raise _bad(f"y holds an array of shape {shapes[other]} in row {other + 1}", config, allowed)
    return np.asarray(values)


def _rows(values: Any, name: str, config: DataConfig) -> Array:
    """An array of numbers of at least two axes; a vector is refused, and so are rows that differ in length."""
    try:
        array = np.asarray(values)
        ragged = array.dtype == np.dtype(object)
    except ValueError:
        ragged = True
    if ragged:
        lengths = [np.shape(row) for row in values]
        other = next((row for row, shape in enumerate(lengths) if shape != lengths[0]), None)
        if other is None:
            raise _bad(f"{name} does not hold numbers", config, "an array of numbers is needed")
        first, here = (lengths[row][0] if lengths[row] else 1 for row in (0, other))
        what = f"{name} has {here} values in row {other + 1} and {first} in row 1"
        raise _bad(what, config, "rows of one length are needed: pad codes with 0 on the left, which models leave out")
    if array.ndim < 2 or not (np.issubdtype(array.dtype, np.number) or array.dtype == np.dtype(bool)):
        allowed = "an array of numbers [rows, features...] is needed"
        raise _bad(f"{name} has the shape {array.shape} and the type {array.dtype}", config, allowed)
    return array


def _vocabulary(x: Array, given: ArrayLike | None, config: DataConfig) -> tuple[int, ...]:
    """How many codes there are: one number for texts, one a column for pairs of user and item."""
    _refuse(x < 0, "x holds a negative code", config, "codes count from 0; numbers that are no codes must be floats")
    pairs = config.task == "recommendation"
    if pairs and x.shape[1:] != (2,):
        raise _bad(f"x has the shape {x.shape}", config, "pairs of user and item [rows, 2] are needed")
    most = x.max(0) + 1 if pairs else [x.max(initial=0) + 1]
    sizes = tuple(int(size) for size in (most if given is None else np.atleast_1d(given)))
    if len(sizes) != len(most):
        raise _bad("the vocabulary does not fit", config, f"{len(most)} number(s) are needed")
    _refuse(
        x >= np.array(sizes), "x holds a code outside the vocabulary", config, f"below {', '.join(map(str, sizes))}"
    )
    return sizes


def _refuse(bad: Array, what: str, config: DataConfig, allowed: str | None = None) -> None:
    """Refuse rows in which anything is bad, naming the first."""
    rows = np.flatnonzero(bad.reshape(len(bad), -1).any(1))
    if len(rows):
        raise _bad(f"{what} in {len(rows)} of {len(bad)} rows, first in row {rows[0] + 1}", config, allowed)


def _bad(what: str, config: DataConfig, allowed: str | None = None) -> UserError:
    return UserError(what, key="data.source", value=config.source, allowed=allowed)
