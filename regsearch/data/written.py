"""How the columns of a table are read: which hold numbers, also those that are written as texts, and how.

All rows tell what a column's texts are, as all cells of a CSV file tell the type of its column; what is learnt of them
(a median, a scale) is learnt of training rows alone. What could mean two things is refused, with what to write.

Legend: N rows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import pandas as pd

from regsearch.data.affixes import CURRENCIES, PERCENT, unit_of
from regsearch.data.arrays import refuse_far
from regsearch.data.columns import AFFIXES, MISSING, NUMBER, WrittenNumbers, read_numbers
from regsearch.data.times import ROW
from regsearch.errors import UserError
from regsearch.system.files import JsonObject

if TYPE_CHECKING:
    from regsearch.config import DataConfig
    from regsearch.config.data import ColumnConfig

GAPS = frozenset({"?", "-", "--", ".", "*", "n/a", "na", "none", "unknown", "missing"}) | {
    sign.casefold() for sign in MISSING
}
"""What stands for a missing value among numbers, in small letters; blanks do, too."""
_BLANKS = " \u00a0\u2009\u202f'\u2019"
_THOUSANDS = {".": f",{_BLANKS}", ",": f".{_BLANKS}"}
_LEADING_ZERO = re.compile(r"0[0-9]")
# From how many different numbers on, and with what share of the rows, a word among them is taken for a slip.
_MANY, _MOST = 20, 0.9


@dataclass(frozen=True)
class Reading:
    """How a column is read.

    Args:
        numeric: it becomes a number, else categories.
        written: how its texts are numbers, see `regsearch.data.columns.WrittenNumbers`; None where none are.
    """

    numeric: bool
    written: JsonObject | None = None

    @property
    def entry(self) -> JsonObject:
        """What the column's entry in the preprocessing says of it."""
        return {} if self.written is None else {"written": self.written}


def is_numeric(values: pd.Series) -> bool:
    """Tell whether a column's type is that of numbers; truth values are none."""
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def read_columns(frame: pd.DataFrame, config: DataConfig | None = None) -> dict[Hashable, Reading]:
    """Tell how each column is read, by its values and by what the study file says of it.

    Raises:
        UserError: texts could be numbers in two ways, or are no numbers among numbers; names the column and a row.
    """
    asked: Mapping[str, ColumnConfig] = {} if config is None else config.columns
    readings: dict[Hashable, Reading] = {}
    for name in frame.columns:
        readings[name] = reading = _reading(frame[name], asked.get(str(name)))
        if config is not None and reading.numeric and not is_numeric(frame[name]):
            try:
                numbers = read_numbers({"name": name, "kind": "numeric", **reading.entry}, frame[name])
            except ValueError as error:
                raise UserError(str(error), key="data.source", value=config.source) from None
            refuse_far(name, numbers, config)
    return readings


def types_alone(frame: pd.DataFrame) -> dict[Hashable, Reading]:
    """Tell how each column is read by its type alone, as up to form 3 of the manifest."""
    return {name: Reading(is_numeric(frame[name])) for name in frame.columns}


def written_like(columns: tuple[JsonObject, ...], train: pd.DataFrame) -> dict[str, str]:
    """Give, by column of numbers that are written as texts, the longest text of training rows that no program reads as
    a number by itself; empty where there is none.
    """
    examples: dict[str, str] = {}
    for column in columns:
        if "written" in column:
            name: str = column["name"]
            texts = {value.strip() for value in train[name].astype(object) if isinstance(value, str)}
            telling = (text for text in texts if not NUMBER.fullmatch(text) and text.casefold() not in GAPS)
            examples[str(name)] = max(telling, key=lambda text: (len(text), text), default="")
    return examples


def _reading(values: pd.Series, asked: ColumnConfig | None) -> Reading:
    kind = None if asked is None else "number" if asked.decimal else asked.kind
    if kind == "category":
        return Reading(False)
    if is_numeric(values):
        if asked is not None and asked.decimal:
            raise _refused(values.name, "holds numbers, no texts", "leave decimal out")
        return Reading(True)
    if kind is None and (values.dtype.kind not in "OTU" or isinstance(values.dtype, pd.CategoricalDtype)):
        return Reading(False)
    texts, numbers, other = _sorted_out(values)
    if other is not None:
        if kind == "number":
            raise _no_number(values.name, other, values.iloc[other])
        return Reading(False)
    if not texts:
        return Reading(bool(numbers) or kind == "number")
    return _Texts(values.name, texts, numbers, asked.decimal if asked else None, kind == "number").reading()


def _sorted_out(values: pd.Series) -> tuple[dict[str, tuple[int, int]], dict[object, int], int | None]:
    """The distinct texts of a column, each with its first row and its count, its distinct numbers with their counts,
    and the first row that holds neither, nor is missing."""
    texts: dict[str, tuple[int, int]] = {}
    numbers: dict[object, int] = {}
    for row, value in enumerate(values.astype(object)):
        if isinstance(value, str):
            first, count = texts.get(value, (row, 0))
            texts[value] = (first, count + 1)
        elif value is None or pd.isna(value):
            continue
        elif isinstance(value, int | float | np.integer | np.floating | Decimal) and not isinstance(
            value, bool | np.timedelta64
        ):
            numbers[value] = numbers.get(value, 0) + 1
        else:
            return texts, numbers, row
    return texts, numbers, None


class _Texts:
    """The distinct texts of a column, to be read as numbers.

    Args:
        texts: each with its first row and its count.
        numbers: what stands among them that is a number by itself, with its count.
        decimal: the sign that the study file says, or None.
        must: they are numbers, or are refused.
    """

    def __init__(
        self,
        name: Hashable,
        texts: dict[str, tuple[int, int]],
        numbers: dict[object, int],
        decimal: str | None,
        must: bool,
    ) -> None:
        self._name, self._must, self._decimal = name, must, decimal
        self._numbers, self._all = numbers, texts
        gaps = {text: text.strip() for text in texts if text.strip().casefold() in GAPS}
        self._gaps = sorted(set(gaps.values()))
        self._rest = [text for text in texts if text not in gaps]
        self._matches = {
            sign: {text: match for text in self._rest if (match := _any_number(sign).match(text)) is not None}
            for sign in ((decimal,) if decimal else (".", ","))
        }

    def reading(self) -> Reading:
        """Tell whether they are numbers, and how these are written.

        Raises:
            UserError: it cannot be told.
        """
        digits = (match["digits"] for matches in self._matches.values() for match in matches.values())
        if not self._must and any(map(_LEADING_ZERO.match, digits)):
            return Reading(False)
        words = [text for text in self._rest if not any(text in matches for matches in self._matches.values())]
        if words:
            self._refuse_word(words)
            return Reading(False)
        if not self._must and len(self._rest) + len(self._numbers) < 2:
            return Reading(False)
        if not (self._must or self._gaps or self._numbers or any(not NUMBER.fullmatch(text) for text in self._rest)):
            return Reading(False)  # plain texts of a source whose cells have types: a text is a text
        decimal, sure = self._sign()
        affixes = self._affixes(self._matches[decimal])
        thousands = _THOUSANDS[decimal] if sure else _BLANKS
        return Reading(True, {"decimal": decimal, "thousands": thousands, "affixes": affixes, "gaps": self._gaps})

    def _refuse_word(self, words: list[str]) -> None:
        """Refuse a word among numbers, where they must be numbers or nearly all are."""
        if self._must:
            raise _no_number(self._name, self._row(words[0]), words[0])
        numbers = [text for text in self._rest if text not in set(words)]
        rows = sum(self._all[text][1] for text in numbers) + sum(self._numbers.values())
        total = rows + sum(self._all[word][1] for word in words)
        if len(numbers) + len(self._numbers) > _MANY and rows >= _MOST * total:
            what = f"holds {_short(words[0])} in {_row(self._row(words[0]))}, and numbers in {rows} of {total} rows"
            mend = "mend it, or leave it empty; if these are no numbers,"
            raise _refused(self._name, what, f"{mend} {_write(self._name, 'kind: category')}")

    def _sign(self) -> tuple[str, bool]:
        """The sign before the decimals, and whether the texts or the study file tell it."""
        if self._decimal:
            return self._decimal, True
        fit = [sign for sign, matches in self._matches.items() if len(matches) == len(self._rest)]
        if not fit:
            signs = [next(t for t in self._rest if t not in matches) for matches in self._matches.values()]
            self._refuse_pair(signs, "numbers written in different ways")
        if len(fit) == 1:
            return fit[0], True
        values = {
            sign: {t: _any_number(sign).value(m) for t, m in matches.items()} for sign, matches in self._matches.items()
        }
        differ = [text for text in self._rest if values["."][text] != values[","][text]]
        if not differ:
            return ".", False
        ambiguous = next((text for text in self._rest if "," in text), None)
        if ambiguous is None:
            return ".", True
        both = " or ".join(f"{values[sign][ambiguous]:g}" for sign in (".", ","))
        what = f"holds {_short(ambiguous)} in {_row(self._row(ambiguous))}, which could be {both}"
        comma = _write(self._name, 'decimal: ","')
        raise _refused(self._name, what, f'{comma} where that is the sign before decimals, else {{decimal: "."}}')

    def _affixes(self, matches: Mapping[str, re.Match[str]]) -> list[str]:
        """The affixes that the numbers have, all of one unit.

        Raises:
            UserError: they are of several: amounts in two currencies, or percentages among other numbers.
        """
        units: dict[str, str] = {}
        affixes: set[str] = set()
        for text, match in matches.items():
            own = [match[group] for group in AFFIXES if match[group]]
            affixes.update(own)
            if own or match["digits"].strip("0"):  # nothing is the same in every unit
                units.setdefault("+".join(sorted({unit_of(affix) for affix in own})), text)
        bare, numbers = units.pop("", None), [number for number in self._numbers if number]
        if len(units) > 1:
            self._refuse_pair([*units.values()], "amounts in different units")
        if PERCENT in units and bare is not None:
            self._refuse_pair([units[PERCENT], bare], "of which one may be a share and one is per cent")
        if PERCENT in units and numbers:
            what = f"holds {_short(units[PERCENT])} in {_row(self._row(units[PERCENT]))} and the number {numbers[0]}"
            raise _refused(self._name, what, "write all of them in one way")
        return sorted(affixes)

    def _refuse_pair(self, texts: list[str], what: str) -> NoReturn:
        first, second = sorted(texts, key=self._row)[:2]
        both = f"{_short(first)} in row {self._row(first) + 1} and {_short(second)} in {_row(self._row(second))}"
        mend = f"write all of them in one way, or {_write(self._name, 'kind: category')}"
        raise _refused(self._name, f"holds {both}, {what}", mend)

    def _row(self, text: str) -> int:
        return self._all[text][0]


@cache
def _any_number(decimal: str) -> WrittenNumbers:
    """Reads every number with this sign before its decimals, with any known affix."""
    affixes = [*CURRENCIES, PERCENT]
    return WrittenNumbers({"decimal": decimal, "thousands": _THOUSANDS[decimal], "affixes": affixes, "gaps": []})


def _row(place: int) -> str:
    return ROW.format(place + 1)


def _short(text: str, most: int = 40) -> str:
    return repr(text if len(text) <= most else f"{text[: most - 3]}...")


def _write(name: Hashable, what: str) -> str:
    plain = re.fullmatch(r"[A-Za-z]\w*", str(name)) is not None
    return f"write data.columns: {{{name if plain else json.dumps(str(name), ensure_ascii=False)}: {{{what}}}}}"


def _no_number(name: Hashable, row: int, value: object) -> UserError:
    what = f"holds {_short(str(value))} in {_row(row)}, which is no number"
    return _refused(name, what, f"mend it, or {_write(name, 'kind: category')}")


def _refused(name: Hashable, what: str, allowed: str) -> UserError:
    return UserError(f"column {name} {what}", key="data.columns", allowed=allowed)
