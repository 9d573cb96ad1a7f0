"""A column read as time: numbers, dates and times of day become places in the order of time.

Legend: N rows, U different texts.
"""

from __future__ import annotations

import datetime
from collections.abc import Hashable
from decimal import Decimal
from numbers import Real

import numpy as np
import pandas as pd

from regsearch.data.dates import MIXED_ZONES, NUMBER, Unreadable, places_of_texts
from regsearch.errors import UserError

Array = np.ndarray
ROW = "row {}, the header not counted"
_KEY = "data.split.by"
# How a text looks that may be a date; how many texts of a column are read to tell, and how many of these may be others.
_FEWEST_DIGITS, _LONGEST = 3, 60
_SAMPLE, _OTHERS = 400, 3


def places_in_time(values: pd.Series, time_format: str | None = None) -> Array:
    """Find the place of each row in the order of time, [N] from 0; rows of one time share theirs.

    Numbers stay numbers, and so do numbers stored as text. Texts are dates of one form, or times of day.

    Args:
        time_format: how dates are written, as for `datetime.strptime`; needed where a text could be read in two ways.

    Raises:
        UserError: a time is missing, cannot be read, or could be read in two ways; names the column and the row.
    """
    plain = values.reset_index(drop=True)
    dtype = plain.dtype
    missing = plain.isna().to_numpy(dtype=bool)
    if not pd.api.types.is_numeric_dtype(dtype):
        blank = plain.astype(object).map(lambda value: isinstance(value, str) and not value.strip())
        missing = missing | blank.to_numpy(dtype=bool)
    _refuse_gaps(missing, values.name)
    if len(plain) == 0:
        return np.zeros(0, dtype=np.int64)
    if isinstance(dtype, pd.CategoricalDtype) and dtype.ordered:
        return np.unique(plain.cat.codes.to_numpy(), return_inverse=True)[1]  # its author said the order
    if pd.api.types.is_numeric_dtype(dtype) and dtype.kind not in "bc":
        return _of_numbers(plain, values.name, time_format)
    if isinstance(dtype, pd.PeriodDtype) or dtype.kind in "mM":
        return np.asarray(pd.factorize(plain, sort=True)[0])
    if isinstance(dtype, pd.StringDtype):
        return _of_texts(plain.astype("str"), values.name, time_format)
    return _of_objects(plain.astype(object), values.name, time_format)


def is_of_dates(values: pd.Series) -> bool:
    """Tell whether a column holds dates or times, a few other words among them aside; numbers are none."""
    values = values.dropna()
    if pd.api.types.is_numeric_dtype(values.dtype) or len(values) == 0:
        return False
    if isinstance(values.dtype, pd.PeriodDtype) or values.dtype.kind in "mM":
        return True
    distinct = values.astype(object).unique()
    sample = pd.Series(distinct[:: -(-len(distinct) // _SAMPLE)], dtype=object)
    kinds = set(sample.map(_kind))
    if kinds != {"text"}:
        return kinds <= {"date", "time of day", "duration", "period"}
    texts = sample.str.strip().astype("str")
    texts = texts[texts != ""].reset_index(drop=True)
    dated = texts.str.count(r"\d").ge(_FEWEST_DIGITS) & texts.str.len().le(_LONGEST) & ~texts.str.fullmatch(NUMBER)
    spare = min(_OTHERS, len(texts) // 10)
    return len(texts) > 0 and int((~dated).sum()) <= spare and _is_readable(texts, spare)


def _is_readable(texts: pd.Series, spare: int) -> bool:
    """Whether texts can be read as times, be it in several ways, but for `spare` of them at most."""
    try:
        places_of_texts(texts, None)
    except Unreadable as problem:
        if problem.key == "time_format":
            return True
        return spare > 0 and _is_readable(texts.drop(index=problem.index).reset_index(drop=True), spare - 1)
    return True


def _refuse_gaps(missing: Array, name: Hashable) -> None:
    if missing.any():
        row = ROW.format(int(np.flatnonzero(missing)[0]) + 1)
        what = f"the time is missing in {int(missing.sum())} of {len(missing)} rows, first in {row}"
        raise UserError(what, key=_KEY, value=name, allowed="every row needs one: fill it in, or leave the row out")


def _of_numbers(values: pd.Series, name: Hashable, time_format: str | None) -> Array:
    whole = pd.api.types.is_integer_dtype(values.dtype) or bool((values % 1 == 0).all())
    if whole and time_format is not None:
        width = len(datetime.datetime(2000, 10, 10, 10, 10, 10).strftime(time_format))
        return _of_texts(values.astype("int64").astype(str).str.zfill(width), name, time_format)
    if whole and values.between(10**6, 10**8 - 1).all():
        return _of_texts(values.astype("int64").astype(str), name, None)
    return np.asarray(pd.factorize(values, sort=True)[0])


def _of_objects(values: pd.Series, name: Hashable, time_format: str | None) -> Array:
    """Places of Python values, all of one kind; numbers among texts count as texts."""
    kinds = values.map(_kind)
    if set(kinds) <= {"text", "number"} and (kinds == "text").any():
        return _of_texts(values.astype(str), name, time_format)
    others = np.flatnonzero(((kinds != kinds.iloc[0]) | (kinds == "")).to_numpy(dtype=bool))
    if len(others):
        row = int(others[0])
        problem = Unreadable(
            "no times, or times of several kinds", row, "allowed are numbers, or dates, or times of day"
        )
        raise _refused(problem, name, row, str(values.iloc[row]))
    if kinds.iloc[0] == "date":
        zoned = values.map(lambda value: getattr(value, "tzinfo", None) is not None).to_numpy(dtype=bool)
        if zoned.any() and not zoned.all():
            row = int(np.flatnonzero(zoned != zoned[0])[0])
            raise _refused(Unreadable(MIXED_ZONES, row, "all must be alike"), name, row, str(values.iloc[row]))
        values = values.map(_instant)
    elif kinds.iloc[0] == "period":
        values = values.map(lambda value: value.start_time)
    return np.asarray(pd.factorize(values, sort=True)[0])


def _kind(value: object) -> str:
    """What a value is, in words; empty where it is no time."""
    kinds: tuple[tuple[str, tuple[type, ...]], ...] = (
        ("text", (str,)),
        ("", (bool, np.bool_)),
        ("duration", (datetime.timedelta, np.timedelta64)),
        ("number", (Real, Decimal)),
        ("date", (datetime.date, np.datetime64)),
        ("time of day", (datetime.time,)),
        ("period", (pd.Period,)),
    )
    return next((kind for kind, types in kinds if isinstance(value, types)), "")


def _instant(value: datetime.date | np.datetime64) -> datetime.datetime:
    """A date or a time with or without a zone, as a time without one."""
    if isinstance(value, np.datetime64):
        return pd.Timestamp(value)
    if not isinstance(value, datetime.datetime):
        return datetime.datetime(value.year, value.month, value.day)
    return value if value.tzinfo is None else value.astimezone(datetime.UTC).replace(tzinfo=None)


def _of_texts(values: pd.Series, name: Hashable, time_format: str | None) -> Array:
    codes, texts = pd.factorize(values.str.strip())
    try:
        return places_of_texts(pd.Series(texts, dtype="str"), time_format)[codes]
    except Unreadable as problem:
        row = int(np.flatnonzero(codes == problem.index)[0])
        raise _refused(problem, name, row, texts[problem.index]) from None


def _refused(problem: Unreadable, name: Hashable, row: int, value: object) -> UserError:
    what = f"column {name} holds {problem.what}, first in {ROW.format(row + 1)}"
    return UserError(what, key=f"data.split.{problem.key}", value=value, allowed=problem.allowed)
