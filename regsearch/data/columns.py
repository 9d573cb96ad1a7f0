"""Raw columns to the model's input; long because it is the one file of this that every deployed model is shipped with.

It imports numpy and pandas alone, so that a served model needs no regsearch and no pickle.

A value has one text form, `canonical`, in training and when it is served, whatever file or program it comes from: what
a row is answered never depends on the rows beside it.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd

PADDING, UNKNOWN, FIRST = 0, 1, 2
CODES = ("code", "tokens")
Column = dict[str, Any]
"""What preprocessing knows of a raw column; see `Preprocessing`."""
MISSING = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
)
"""What stands for a missing value in a CSV file, as pandas has it."""
NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")
"""A number as every program writes it, blanks around it aside."""
_PLAIN_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")
_TRUTHS = {"True": "True", "true": "True", "TRUE": "True", "False": "False", "false": "False", "FALSE": "False"}
_MOST_DIGITS = 400


class TooFar(ValueError):
    """A row holds a number that single precision does not hold once it is scaled; names it in one line."""


@dataclass(frozen=True)
class Preprocessing:
    """Fitted preprocessing of a table: one entry per raw column, in order.

    A numeric column becomes (value or median - mean) / scale, held between `low` and `high` where it has these, or the
    normal score of its place among `quantiles`; a categorical one becomes one 0/1 feature per category,
    the missing value standing for the most frequent category and an unknown one giving zeros. A numeric column of texts
    says under `written` how these are read, see `WrittenNumbers`. A column of kind `code`
    becomes the number of its value, counted from 1, 0 where training knew none such; one of kind `tokens` the codes of
    its words or characters: 0 pads on the left, 1 is unknown, known ones count from 2. A column that is not numeric
    says under `holds` what training had in it: `numbers`, `booleans`, `times`, else words.

    Args:
        shape: of a row of x, where it is another than one axis of features.
        window: rows of the table that make one row of x, for forecasts: every run of so many that follow one another.
        missing: texts that stand for a missing value where training has no such category; none where the source had
            types, in which a text is a text.
        series: the column that tells the series of such a table apart; windows are cut within each.
    """

    columns: tuple[dict[str, Any], ...]
    shape: tuple[int, ...] | None = None
    window: int | None = None
    missing: tuple[str, ...] = MISSING
    series: str | None = None

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Preprocessing:
        """Read what `to_json` wrote. Entries of `columns` are kept as they are.

        Raises:
            ValueError: beside them stands something that this file does not know, and would leave out.
        """
        unknown = sorted(set(data) - {"columns", "shape", "window", "missing", "series"})
        if unknown:
            raise ValueError(f"the preprocessing has the unknown field(s) {', '.join(unknown)}")
        shape, missing = data.get("shape"), tuple(data.get("missing", MISSING))
        rows = None if shape is None else tuple(shape)
        return cls(tuple(data["columns"]), rows, data.get("window"), missing, data.get("series"))

    def to_json(self) -> dict[str, Any]:
        """Write it as plain JSON."""
        rest: dict[str, object] = {"shape": None if self.shape is None else list(self.shape), "window": self.window}
        rest |= {"missing": None if self.missing == MISSING else list(self.missing), "series": self.series}
        return {"columns": list(self.columns), **{key: value for key, value in rest.items() if value is not None}}

    def read(self, file: str | Path | TextIO) -> pd.DataFrame:
        """Read a CSV file whose cells stay the texts that they are, whatever stands in other rows; gaps are gaps."""
        table, signs = pd.read_csv(file, dtype=str, keep_default_na=False), self.missing or MISSING
        for column in self.columns:
            if column["name"] in table.columns and column["kind"] != "numeric":
                cells = table[column["name"]]
                table[column["name"]] = cells.mask(cells.isin(set(signs).difference(_known(column))))
        if self.series in table.columns and self.series not in [column["name"] for column in self.columns]:
            table[self.series] = table[self.series].mask(table[self.series].isin(signs))
        return table

    def apply(self, table: pd.DataFrame, trained: bool = False) -> np.ndarray:
        """Preprocess a table to the rows of x [N...]: float32, or int64 where the columns are codes.

        Args:
            trained: the table is the one that training rows come from: no text of it stands for another value.

        Raises:
            ValueError: a column is missing, or a numeric one holds something else, or one of words a number or a truth
                value that no word of it is, or an unbounded one a number that single precision does not hold then, or
                there are fewer rows than one window has.
        """
        missing = [c["name"] for c in self.columns if c["name"] not in table.columns]
        if missing:
            raise ValueError(f"the table lacks the column(s) {', '.join(map(str, missing))}")
        signs = None if trained else frozenset(self.missing)
        parts = [_feature(column, _plain(column, table[column["name"]], signs)) for column in self.columns]
        codes = any(column["kind"] in CODES for column in self.columns)
        with np.errstate(over="ignore"):
            features: np.ndarray = np.concatenate(parts, axis=1).astype(np.int64 if codes else np.float32)
        far = np.flatnonzero(~np.isfinite(features).all(axis=1))
        if len(far):
            raise TooFar(f"row {far[0] + 1} holds a number too far from those of training for single precision")
        if self.shape is not None:
            features = features.reshape(len(features), *self.shape)
        if self.window is None:
            return features
        if self.series is None or len(table) == 0:
            return windows(features, self.window)
        return np.concatenate([windows(features[rows], self.window) for rows in self._rows_of_series(table).values()])

    def series_of_windows(self, table: pd.DataFrame) -> np.ndarray:
        """Name the series of each window of a table, as `apply` gives them: series in order of appearance."""
        names = self._rows_of_series(table)
        counts = [len(rows) + 1 - (self.window or 1) for rows in names.values()]
        return np.repeat(np.array(list(names), dtype=object), counts)

    def _rows_of_series(self, table: pd.DataFrame) -> dict[Hashable, np.ndarray]:
        """The rows of each series in the order given."""
        assert self.series is not None and self.window is not None, "a forecast of several series"
        if self.series not in table.columns:
            raise ValueError(f"the table lacks the column(s) {self.series}, which tells its series apart")
        codes, names = pd.factorize(table[self.series].astype(object))
        groups = {name: np.flatnonzero(codes == code) for code, name in enumerate(names)}
        if (codes < 0).any():
            row = int(np.flatnonzero(codes < 0)[0])
            raise ValueError(f"row {row + 1} says no {self.series}, which tells the series of the table apart")
        for name, rows in groups.items():
            if len(rows) < self.window:
                raise ValueError(f"{self.series} {name} has {len(rows)} rows, and a forecast sees {self.window}")
        return groups


def windows(rows: np.ndarray, size: int) -> np.ndarray:
    """Cut every run of `size` rows [N, F] that follow one another, oldest first: [N - size + 1, size, F].

    Raises:
        ValueError: there are fewer rows than that.
    """
    if len(rows) < size:
        raise ValueError(f"the table has {len(rows)} rows, and a forecast sees {size}")
    return np.lib.stride_tricks.sliding_window_view(rows, size, axis=0).swapaxes(1, 2)


def canonical(value: Any) -> str | None:
    """Convert a value to text, None where it is missing: 7, 7.0 and Decimal("7.00") are `7`, midnight is its date.

    A text is itself, so that `007` is no 7. Times are ISO 8601, those of a time zone in UTC.

    Raises:
        ValueError: it is not one value but several.
    """
    if isinstance(value, str):
        return str(value)
    if isinstance(value, list | tuple | dict | set | np.ndarray):
        raise ValueError("several values in a cell")
    if value is None or pd.isna(value):
        return None
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, np.timedelta64):
        return str(pd.Timedelta(value))
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, float | np.floating):
        return str(int(value)) if value.is_integer() else str(value)
    if isinstance(value, Decimal):
        return _decimal(value)
    if isinstance(value, np.datetime64 | datetime.date):
        return _time(pd.Timestamp(value) if isinstance(value, np.datetime64) else value)
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _decimal_text(text: str) -> str:
    try:
        return _decimal(Decimal(text.strip()))
    except InvalidOperation:  # an exponent beyond all bounds
        return text


def _decimal(value: Decimal) -> str:
    if not value.is_finite() or abs(value.adjusted()) > _MOST_DIGITS:
        return str(value)
    if value == value.to_integral_value():
        return str(int(value))
    # As the float of the same digits is written, where there is one.
    short = str(float(value))
    return short if Decimal(short) == value else format(value, "f").rstrip("0")


def _time(value: datetime.date) -> str:
    if isinstance(value, datetime.datetime):
        if value.tzinfo is not None:
            return value.astimezone(datetime.UTC).isoformat()
        if value.time() == datetime.time() and not getattr(value, "nanosecond", 0):
            return value.date().isoformat()
    return value.isoformat()


def as_text(values: pd.Series) -> np.ndarray:
    """Convert a column to canonical texts, None where missing."""
    return np.array([canonical(value) for value in values.astype(object)], dtype=object)


def _plain(column: Column, values: pd.Series, missing: frozenset[str] | None) -> pd.Series:
    """A column as numbers, or as the texts that training knows its values by.

    Args:
        missing: texts that stand for a missing value; None for the table of training, which is as it is.
    """
    if column["kind"] == "numeric":
        return pd.Series(read_numbers(column, values, frozenset(MISSING).union(missing or ())))
    if missing is None:
        return pd.Series(as_text(values), dtype=object)
    return pd.Series(_by_row(column, values, _Words(column, missing)), dtype=object)


def read_numbers(column: Column, values: pd.Series, missing: frozenset[str] = frozenset(MISSING)) -> np.ndarray:
    """Read a numeric column as its entry says, each value by itself: float64 [N], NaN where it is missing.

    Args:
        missing: texts that stand for a missing value, besides those that the entry has.

    Raises:
        ValueError: a value is no number, or is written in another way; names its row.
    """
    numbers = values
    if _is_loose(values):
        own = WrittenNumbers(column["written"], missing) if "written" in column else None
        read = own or (lambda text: _text_number(text, missing))
        numbers = pd.Series(_by_row(column, values, lambda value: _number(value, read)), dtype=np.float64)
    plain: np.ndarray = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    return plain


def _is_loose(values: pd.Series) -> bool:
    """Whether a column's type leaves open that its values are no numbers."""
    return not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values)


def _by_row(column: Column, values: pd.Series, read: Callable[[object], object]) -> list[object]:
    answers = []
    for row, value in enumerate(values.astype(object), 1):
        try:
            answers.append(read(value))
        except ValueError as error:
            must = "must hold numbers:" if column["kind"] == "numeric" else "must hold what it held in training:"
            shown = repr(value if isinstance(value, str) else str(value))[:80]
            raise ValueError(f"column {column['name']} {must} row {row} holds {shown}, {error}") from None
    return answers


def _number(value: Any, read: Callable[[str], float]) -> float:
    """The number that a value is by itself, NaN where it is missing; a text is read by `read`."""
    if isinstance(value, str):
        return read(value)
    if canonical(value) is None:
        return float("nan")
    if isinstance(value, bool | np.bool_):
        raise ValueError("a truth value: write 1 or 0")
    if _kind(value) != "number":
        raise ValueError("which is no number")
    try:
        return float(value)
    except OverflowError:
        raise ValueError("which is too large") from None


def _text_number(text: str, missing: frozenset[str]) -> float:
    if text in missing:
        return float("nan")
    try:
        if "_" not in text:
            return float(text)
    except ValueError:
        pass
    raise ValueError("a truth value: write 1 or 0" if text in _TRUTHS else "which is no number")


class WrittenNumbers:
    """Reads texts as numbers, all written in one way. No text is read in two ways.

    Args:
        written: how: the `decimal` sign; the signs that may stand between `thousands`, in one text; `affixes` that may
            stand before or after the digits, in small or capital letters; the texts that are `gaps`. A number in
            brackets is negative, and a percentage is what stands before the sign: 12% is 12.
        missing: texts that are gaps besides.

    Raises (as it reads):
        ValueError: a text is neither a gap nor a number that is written so.
    """

    def __init__(self, written: dict[str, Any], missing: frozenset[str] = frozenset()) -> None:
        self._form = _form_of_numbers(written["decimal"], written["thousands"], written["affixes"])
        self._decimal, self._thousands = written["decimal"], str.maketrans("", "", written["thousands"])
        self._missing, self._gaps = missing, {gap.casefold() for gap in written["gaps"]}
        self._read: dict[str, float] = {}

    def __call__(self, text: str) -> float:
        if text not in self._read:
            gap = text in self._missing or text.strip().casefold() in self._gaps
            match = None if gap else self.match(text)
            if match is None and not gap:
                what = f"which is no number with {self._decimal!r} before its decimals"
                raise ValueError("a truth value: write 1 or 0" if text in _TRUTHS else what)
            self._read[text] = float("nan") if match is None else self.value(match)
        return self._read[text]

    def match(self, text: str) -> re.Match[str] | None:
        """Match a text as a number; its `digits` and affixes are groups of the match."""
        return self._form.fullmatch(text.strip())

    def value(self, match: re.Match[str]) -> float:
        """Give the number that a text stands for."""
        number = float(match["digits"].translate(self._thousands).replace(self._decimal, "."))
        negative = match["bracket"] or (match["first"] or match["second"] or "+") != "+"
        return -number if negative else number


AFFIXES = ("ahead", "within", "before", "after", "beyond")
"""Groups of a match that hold an affix."""


def _form_of_numbers(decimal: str, thousands: str, affixes: list[str]) -> re.Pattern[str]:
    """A sign or brackets, an affix before or after, and digits, of which those before the decimals may stand in groups
    of three."""
    affix = "|".join(re.escape(word) for word in sorted(affixes, key=len, reverse=True)) or r"(?!)"
    point, sign = re.escape(decimal), "[-+\u2212]"
    groups = (
        rf"[1-9][0-9]{{0,2}}(?P<gap>[{re.escape(thousands)}])[0-9]{{3}}(?:(?P=gap)[0-9]{{3}})*|" if thousands else ""
    )
    decimals = rf"{point}[0-9]{'*' if decimal == '.' else '+'}"
    digits = rf"(?:(?:{groups}[0-9]+)(?:{decimals})?|{point}[0-9]+)(?:[eE][-+]?[0-9]+)?"
    blank = r"\s{0,2}"
    signed = rf"(?P<first>{sign})?{blank}(?P<before>{affix})?{blank}(?(first)|(?P<second>{sign})?){blank}"
    opened = rf"(?P<ahead>{affix})?{blank}(?P<bracket>\(){blank}(?P<within>{affix})?{blank}"
    end = rf"{blank}(?P<after>{affix})?{blank}(?(bracket)\){blank}(?P<beyond>{affix})?)"
    return re.compile(rf"(?:{opened}|{signed})(?P<digits>{digits}){end}", re.IGNORECASE)


class _Words:
    """Reads values of a column that is not numeric as the texts that training knows them by.

    A text is that text, a number the category of this number (1 is `1.0`, but not `007`), likewise truth values and
    times; where training had numbers, truth values or times, texts are read as such. What is known then is answered,
    and an unknown word is left as it is.

    Raises (as it reads):
        ValueError: a number or a truth value in a column of which no training value was one.
    """

    def __init__(self, column: Column, missing: frozenset[str]) -> None:
        self._open, self._missing = column["kind"] == "tokens", missing
        self._holds = column.get("holds", "words")
        self._known = _known(column)
        self._read: dict[tuple[str, str], str | None] = {}
        self._equal: dict[str, dict[Hashable, str | None]] = {}

    def __call__(self, value: object) -> str | None:
        text = canonical(value)
        if text is None or text in self._known:
            return text
        key = (_kind(value), text)
        if key not in self._read:
            self._read[key] = self._text(text) if key[0] == "text" else self._typed(*key)
        return self._read[key]

    def _text(self, text: str) -> str | None:
        if text in self._missing:
            return None
        if self._holds == "numbers" and NUMBER.fullmatch(text):
            forms = (_decimal_text(text), canonical(float(text)))
            return next((form for form in forms if form in self._known), forms[0])
        if self._holds == "booleans" and text in _TRUTHS:
            return _TRUTHS[text]
        if self._holds == "times" and not NUMBER.fullmatch(text):
            return _read_time(text) or text
        if text in _TRUTHS:
            self._refuse("a truth value", any(word in _TRUTHS for word in self._known))
        if NUMBER.fullmatch(text):
            self._refuse("a number", any(NUMBER.fullmatch(word) for word in self._known))
        return text

    def _typed(self, kind: str, text: str) -> str | None:
        """The category that is the same number, truth value or time, if one alone is."""
        if kind not in _SAME or self._open:
            return text
        if kind not in self._equal:
            self._equal[kind] = equal = {}
            for word in self._known:
                key = _SAME[kind](word)
                if key is not None:
                    equal[key] = None if key in equal else word
        self._refuse(f"a {kind}", bool(self._equal[kind]))
        return self._equal[kind].get(_SAME[kind](text)) or text

    def _refuse(self, what: str, like: bool) -> None:
        if not like and not self._open:
            raise ValueError(f"{what} where training had none")


def _known(column: Column) -> dict[str, None]:
    """The texts that training had in a column; none for tokens."""
    return dict.fromkeys(column.get("categories") or column.get("values") or ())


def _kind(value: object) -> str:
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool | np.bool_):
        return "truth value"
    if isinstance(value, int | np.integer | float | np.floating | Decimal) and not isinstance(value, np.timedelta64):
        return "number"
    return "time" if isinstance(value, np.datetime64 | datetime.date) else "other"


def _read_time(text: str) -> str | None:
    if NUMBER.fullmatch(text):
        return None
    time = pd.to_datetime(text, format="ISO8601", errors="coerce")
    return canonical(time)


_SAME: dict[str, Callable[[str], Hashable]] = {
    "number": lambda text: Decimal(text) if _PLAIN_NUMBER.fullmatch(text) else None,
    "truth value": _TRUTHS.get,
    "time": _read_time,
}


def tokens(text: str | None, level: str) -> list[str]:
    """Split a text into characters, or into words in small letters; none where it is missing."""
    if text is None:
        return []
    return list(text) if level == "characters" else re.findall(r"\w+(?:'\w+)*", text.lower())


class Vocabulary:
    """Give tokens their codes in a column's vocabulary; `UNKNOWN` where training knew no such token."""

    def __init__(self, column: Column) -> None:
        self._codes = {token: code for code, token in enumerate(column["vocabulary"], FIRST)}

    def codes(self, words: list[str]) -> list[int]:
        """Give the codes of tokens in their order."""
        return [self._codes.get(word, UNKNOWN) for word in words]


def _feature(column: Column, values: pd.Series) -> np.ndarray:
    if column["kind"] == "code":
        known = {value: code for code, value in enumerate(column["values"], 1)}
        return np.array([known.get(value, 0) for value in values], dtype=np.int64)[:, None]
    if column["kind"] == "tokens":
        return _padded(column, values)
    if column["kind"] == "numeric":
        numbers = values.to_numpy(dtype=np.float64)
        numbers = np.where(np.isfinite(numbers), numbers, column["median"])
        return _scaled(numbers, column)[:, None]
    filled = np.array([column["most_frequent"] if text is None else text for text in values], dtype=object)
    return np.stack([filled == category for category in column["categories"]], axis=1).astype(np.float64)


def _scaled(numbers: np.ndarray, column: Column) -> np.ndarray:
    """Numbers [N] as the column's entry says; one of an earlier version has no bounds."""
    if "quantiles" in column:
        quantiles, scores = (np.array(column[name]) for name in ("quantiles", "scores"))
        # Where many values are equal the two ends of their run are met half way.
        below, above = np.interp(numbers, quantiles, scores), np.interp(-numbers, -quantiles[::-1], -scores[::-1])
        middle: np.ndarray = (below - above) / 2
        return middle
    scaled: np.ndarray = (numbers - column["mean"]) / column["scale"]
    return np.clip(scaled, column["low"], column["high"]) if "low" in column else scaled


def _padded(column: Column, values: pd.Series) -> np.ndarray:
    """Codes [N, length], padded on the left; a text too long keeps its first tokens, or its last where it goes on."""
    length, vocabulary = column["length"], Vocabulary(column)
    codes = np.full((len(values), length), PADDING, dtype=np.int64)
    for row, text in enumerate(values):
        words = tokens(text, column["level"])
        words = words[-length:] if column["keep"] == "last" else words[:length]
        if words:
            codes[row, -len(words) :] = vocabulary.codes(words)
    return codes
