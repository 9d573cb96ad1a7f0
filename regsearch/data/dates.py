"""Texts read as times: numbers, dates of one form for the whole column, times of day, quarters and weeks.

A form that some value settles is that of all; where every value can be read in two ways, the study file has to say it.

Legend: U different texts.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

Array = np.ndarray
MIXED_ZONES = "times that say their offset from UTC and times that do not"
_FORMS = (
    "allowed are numbers, dates like 2022-01-31 or 1/31/2022 and times like 9:30, all written alike; "
    'for others say beside by: how, like time_format: "%d. %b %Y"'
)
NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_PERIOD = r"(?P<year>\d{4})[-/ ]?(?P<of>[QWMSH])(?P<number>\d{1,2})(?:-?(?P<day>[1-7]))?"
_PERIOD_FIRST = r"(?P<of>[QWMSH])(?P<number>\d{1,2})[-/ ]?(?P<year>\d{4})"
_PER_YEAR = {"Q": 4, "W": 53, "M": 12, "S": 2, "H": 2}
_CLOCK = (
    r"^(?:(?P<date>.*?)(?:T|[\s,]+))?(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<part>\d+))?)?"
    r"\s*(?P<half>[AaPp]\.?[Mm]\.?)?\s*(?P<zone>Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?$"
)
_COMPACT, _HOUR = r"^(\d{8}T\d{2})(\d{2})(\d{2})\b", r"(T\d{2})$"
_OF_A_CLOCK = ("%H", "%I", "%M", "%S", "%T", "%X", "%c")
_WEEKDAY = r"(?i)^(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+"
_NUMERIC = ("%Y{}%m{}%d", "%d{}%m{}%Y", "%m{}%d{}%Y", "%d{}%m{}%y", "%m{}%d{}%y", "%y{}%m{}%d", "%Y{}%m", "%m{}%Y")
_NAMED = ("%d{}%b{}%Y", "%d{}%b{}%y", "%Y{}%b{}%d", "%b{}%d{}%Y", "%b{}%Y", "%Y{}%b")
# So many texts tell which forms are worth a try.
_SAMPLE = 100


class Unreadable(Exception):
    """A text that is no time as the others are.

    Args:
        what: the column holds, in words; `allowed`: what to do about it.
        index: of the text.
        key: of the study file's `data.split` that mends it.
    """

    def __init__(self, what: str, index: int, allowed: str, key: str = "by") -> None:
        self.what, self.index, self.allowed, self.key = what, index, allowed, key
        super().__init__(what)


def places_of_texts(texts: pd.Series, time_format: str | None) -> Array:
    """Find the place of each of the texts, which have no blanks at their ends, in the order of time, [U].

    Raises:
        Unreadable: a text is no time, or all can be read in several ways.
    """
    if time_format is not None:
        return ranks(*_as_said(texts, time_format))
    numbers = texts.str.fullmatch(NUMBER).to_numpy(dtype=bool)
    if numbers.all():
        return _of_numbers(texts)
    periods = _of_periods(texts.str.upper())
    try:
        return ranks(*(_dated(texts, None) if periods is None else periods))
    except Unreadable:
        if numbers.mean() <= 0.5:
            raise
        raise Unreadable("what is no number, as others are", int(np.flatnonzero(~numbers)[0]), _FORMS) from None


def ranks(*keys: Array) -> Array:
    """Rank the rows, equal ones alike, in the order of the first key, then the next: [N] from 0."""
    order = np.lexsort(keys[::-1])
    changes = np.zeros(len(order), dtype=bool)
    for key in keys:
        changes[1:] |= key[order][1:] != key[order][:-1]
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.cumsum(changes)
    return places


def _of_numbers(texts: pd.Series) -> Array:
    """Numbers by their size; refused where they look like days with the year last, which is another order."""
    whole = texts.str.fullmatch(r"[+-]?\d+").all()
    numbers = np.array([int(text) if whole else float(text) for text in texts], dtype=object)
    places: Array = np.unique(numbers, return_inverse=True)[1]
    if texts.str.fullmatch(r"\d{7,8}").all():
        padded = texts.str.zfill(8)
        days = {form: _days(padded, form) for form in ("%Y%m%d", "%d%m%Y", "%m%d%Y")}
        forms = [form for form, day in days.items() if _is_recent(day)]
        if "%Y%m%d" not in forms and any((ranks(days[form]) != places).any() for form in forms):
            raise Unreadable("whole numbers that look like days with the year last", 0, _say(forms), "time_format")
    return places


def _is_recent(days: Array) -> bool:
    """Whether all are days of 1900 to 2100; NaN is none."""
    first, last = (np.datetime64(f"{year}-01-01", "D").astype(np.int64) for year in (1900, 2101))
    return bool(((days >= first) & (days < last)).all())


def _of_periods(texts: pd.Series) -> tuple[Array, ...] | None:
    """Years with a quarter, month, week or half; None where the texts are not such."""
    for pattern in (_PERIOD, _PERIOD_FIRST):
        if not texts.head(1).str.fullmatch(pattern).all():
            continue
        parts = texts.str.extract(f"^{pattern}$")
        if not parts["of"].isna().any() and parts["of"].nunique() == 1:
            numbers = parts["number"].astype(int)
            if numbers.between(1, _PER_YEAR[parts["of"].iloc[0]]).all():
                days = parts["day"].fillna("0") if "day" in parts else pd.Series("0", index=parts.index)
                return tuple(part.to_numpy(dtype=np.int64) for part in (parts["year"].astype(int), numbers, days))
    return None


def _as_said(texts: pd.Series, time_format: str) -> tuple[Array, Array]:
    """Days, and nanoseconds of the day, of texts in the form that the study file says."""
    if not any(directive in time_format for directive in _OF_A_CLOCK):
        return _dated(texts, time_format)
    try:
        moments = pd.to_datetime(texts, format=time_format, errors="coerce", utc="%z" in time_format)
    except ValueError as error:
        raise _not_as_said(time_format, 0, f"pandas says: {error}") from None
    if moments.isna().any():
        raise _not_as_said(time_format, int(np.flatnonzero(moments.isna())[0]))
    plain = moments.dt.tz_localize(None).to_numpy()
    days = plain.astype("datetime64[D]")
    return days.astype(np.int64), (plain - days).astype("timedelta64[ns]").astype(np.int64)


def _not_as_said(form: str, index: int, allowed: str = "every value must be of that form") -> Unreadable:
    return Unreadable(f"what is not written as {form}", index, allowed, "time_format")


def _dated(texts: pd.Series, time_format: str | None) -> tuple[Array, Array]:
    """Days, and nanoseconds of the day, of dates with or without a time of day, or of times of day alone."""
    said = texts.str.replace(_COMPACT, r"\1:\2:\3", regex=True).str.replace(_HOUR, r"\1:00", regex=True)
    parts = said.str.extract(_CLOCK)
    nanoseconds, wrong = _of_clocks(parts)
    if wrong.any():
        raise Unreadable("what is no time of day", int(np.flatnonzero(wrong)[0]), _FORMS)
    dates = parts["date"].where(parts["hour"].notna(), texts)
    alone, zoned = dates.isna().to_numpy(dtype=bool), parts["zone"].notna().to_numpy(dtype=bool)
    for marks, what in ((alone, "dates and times of day alone"), (zoned, MIXED_ZONES)):
        if marks.any() and not marks.all():
            raise Unreadable(what, int(np.flatnonzero(marks != marks[0])[0]), "all must be alike")
    if alone.all():
        return nanoseconds, np.zeros(len(texts), dtype=np.int64)
    if time_format is None or not any(name in time_format for name in ("%a", "%A")):
        dates = dates.str.replace(_WEEKDAY, "", regex=True)
    codes, different = pd.factorize(dates)
    try:
        days = _days_of(pd.Series(different, dtype="str"), time_format)[codes]
    except Unreadable as problem:
        problem.index = int(np.flatnonzero(codes == problem.index)[0])
        raise
    turns, rest = np.divmod(nanoseconds, 86_400 * 10**9)
    return days + turns, rest


def _days_of(dates: pd.Series, time_format: str | None) -> Array:
    """The days of different dates, in the one form that reads them all, [U]."""
    if time_format is not None:
        days = _days(dates, time_format)
        if np.isnan(days).any():
            raise _not_as_said(time_format, int(np.flatnonzero(np.isnan(days))[0]))
        return days.astype(np.int64)
    sample = dates.head(_SAMPLE)
    readings = {form: _days(dates, form) for form in _forms() if not np.isnan(_days(sample, form)).all()}
    if not readings:
        raise Unreadable("what is no time", 0, _FORMS)
    gaps = {form: np.isnan(days) for form, days in readings.items()}
    best = min(gaps, key=lambda form: gaps[form].sum())
    if gaps[best].any():
        what = f"what is not written like others, as {best}"
        raise Unreadable(what, int(np.flatnonzero(gaps[best])[0]), _FORMS)
    whole = [form for form in readings if not gaps[form].any()]
    differs = np.any([readings[form] != readings[best] for form in whole], axis=0)
    if differs.any():
        forms = [form for form in whole if form == best or (readings[form] != readings[best]).any()]
        what = "dates that can be read in several ways, which no value settles"
        raise Unreadable(what, int(np.flatnonzero(differs)[0]), _say(forms), "time_format")
    return readings[best].astype(np.int64)


def _forms() -> Iterator[str]:
    for separator in "-/. ":
        yield from (form.replace("{}", separator) for form in _NUMERIC)
    for separator in ("-", "/", " ", ".", "", ", "):
        for form in _NAMED:
            yield from (form.replace("{}", separator).replace("%b", name) for name in ("%b", "%B"))
    yield from ("%Y%m%d", "%Y:%m:%d", "%b %d, %Y", "%B %d, %Y", "%d. %b %Y", "%d. %B %Y")


def _say(forms: list[str]) -> str:
    return "say which beside by: " + " or ".join(f'time_format: "{form}"' for form in forms)


def _days(dates: pd.Series, form: str) -> Array:
    """Days since 1970 of dates, [U] float64; NaN where one is not of that form."""
    read = pd.to_datetime(dates, format=form, errors="coerce").to_numpy().astype("datetime64[D]")
    words = np.isnat(read) | ~dates.str.contains(r"\d").to_numpy(dtype=bool)  # pandas reads `today` in any form
    return np.where(words, np.nan, read.astype(np.int64))


def _of_clocks(parts: pd.DataFrame) -> tuple[Array, Array]:
    """Nanoseconds from the start of the day in UTC, 0 where no time of day is said, and which ones are impossible."""
    hour, minute, second = (parts[name].fillna("0").astype("int64") for name in ("hour", "minute", "second"))
    half = parts["half"].str.upper().str[0]
    twelve = half.notna()
    wrong = (minute > 59) | (second > 60) | (hour > 23) | (twelve & ~hour.between(1, 12))
    hour = hour.where(~twelve, hour % 12 + 12 * (half == "P").fillna(False).astype("int64"))
    part = parts["part"].fillna("0").str.slice(0, 9).str.pad(9, side="right", fillchar="0").astype("int64")
    offset = parts["zone"].str.extract(r"^(?P<sign>[+-])(?P<hours>\d{2}):?(?P<minutes>\d{2})?$")
    minutes = offset["hours"].fillna("0").astype("int64") * 60 + offset["minutes"].fillna("0").astype("int64")
    minutes = minutes.where(offset["sign"] != "-", -minutes)
    total = ((hour * 60 + minute - minutes) * 60 + second) * 10**9 + part
    return total.to_numpy(dtype=np.int64), wrong.to_numpy(dtype=bool)
