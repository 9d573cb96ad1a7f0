"""What a sealed split is, in words: how its rows are shared out, what each column became, what to look at."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from regsearch.config.words import listed
from regsearch.data.manifest import Manifest

SHOWN = 4
"""Columns, or categories of a column, that are named at most."""
_UNITS = {"forecasting": "windows ", "language_modelling": "windows of tokens "}


def describe_split(manifest: Manifest) -> str:
    """Say how rows are shared out, and how many each part has, in a line."""
    by = manifest.split["by"]
    (kind, column), *_ = [("random", "")] if isinstance(by, str) else by.items()
    stratified = ", stratified by class" if manifest.task == "classification" else ""
    ways = {
        "random": f"at random{stratified}",
        "time": f"by time, the latest in the test (column {column})",
        "group": f"whole groups at random{stratified} (column {column})",
        "user": f"the rows of each user shared out at random (column {column})",
        "column": f"as a column says (column {column})",
    }
    sizes = ", ".join(f"{count:,} {_UNITS.get(manifest.task, '')}{part}" for part, count in manifest.sizes.items())
    return f"{ways[kind]}: {sizes}"


def describe_features(manifest: Manifest) -> dict[str, str]:
    """Say what each column becomes, by its name; those that are no features come first."""
    if manifest.preprocessing is None:
        shape = " × ".join(map(str, manifest.inputs))
        return {"x": f"{math.prod(manifest.inputs):,} {'codes' if manifest.vocabulary else 'numbers'} a row ({shape})"}
    columns = manifest.preprocessing["columns"]
    words = {
        str(column["name"]): _features(column) + _written(column, manifest) + _filled(column, manifest)
        for column in columns
    }
    by, series = manifest.split["by"], manifest.preprocessing.get("series")
    idle = {} if isinstance(by, str) else dict.fromkeys(by.values(), "no feature: the split goes by it")
    idle |= {} if series is None else {series: "no feature: tells the series apart"}
    return {**{name: text for name, text in idle.items() if name not in words}, **words}


def notices(manifest: Manifest) -> dict[str, str]:
    """Say, a line each by its name, which rows no part has, and which dates became words."""
    lines = {"rows left out": _left_out(manifest), "dates as words": _dates(manifest)}
    return {name: line for name, line in lines.items() if line}


def remarks(manifest: Manifest) -> dict[str, str]:
    """Say what to know of the prepared rows, a line each by its name: `notices`, and values far beyond training."""
    lines = notices(manifest)
    if not manifest.far:
        return lines
    named = _named(dict(sorted(manifest.far.items(), key=lambda pair: -pair[1])))
    columns = (manifest.preprocessing or {}).get("columns", ())
    bounded = any("low" in column or "quantiles" in column for column in columns)
    rest = "held at the bound" if bounded else "not bounded: see data.scaling"
    total = sum(manifest.far.values())
    lie = "value of validation rows lies" if total == 1 else "values of validation rows lie"
    what = f"{total:,} {lie} far beyond those of training rows ({rest})"
    return {**lines, "beyond training": f"{what}; columns {named}"}


def _named(counts: Mapping[str, int]) -> str:
    """The first columns with their counts, and how many more there are."""
    named = ", ".join(f"{name} ({count})" for name, count in [*counts.items()][:SHOWN])
    return f"{named} and {len(counts) - SHOWN} more" if len(counts) > SHOWN else named


def _features(column: Mapping[str, Any]) -> str:
    """What a column becomes."""
    kind = column["kind"]
    if kind == "numeric":
        return "1 number"
    if kind == "code":
        return f"1 code of {len(column['values']):,} values"
    if kind == "tokens":
        return f"{column['length']:,} {column['level']}, of {len(column['vocabulary']):,} that are known"
    categories = column["categories"]
    more = ", ..." if len(categories) > SHOWN else ""
    shown = ", ".join(_short(category) for category in categories[:SHOWN])
    return f"{_count(len(categories), 'category', 'categories')}, a feature each: {shown}{more}"


def _written(column: Mapping[str, Any], manifest: Manifest) -> str:
    """How the texts of a column of numbers are written, and which of them are gaps."""
    like, gaps = (manifest.written or {}).get(str(column["name"]), ""), column.get("written", {}).get("gaps", ())
    shown = listed(f'"{gap}"' if gap else "a blank" for gap in gaps) if gaps else ""
    words = f", written like {_short(like)}" if like else ""
    return f"{words}; {shown} {'is a gap' if len(gaps) == 1 else 'are gaps'}" if shown else words


def _filled(column: Mapping[str, Any], manifest: Manifest) -> str:
    """How many training rows lack a value, and what they get."""
    count = (manifest.filled or {}).get(str(column["name"]), 0)
    if not count:
        return ""
    numeric = column["kind"] == "numeric"
    value = (
        f"the median, {column['median']:.6g}" if numeric else f"the most frequent, {_short(column['most_frequent'])}"
    )
    among = "" if manifest.task == "forecasting" else f" of {manifest.sizes['train']:,}"  # which counts windows
    rows = "training row lacks it and gets" if count == 1 and not among else "training rows lack it and get"
    return f"; {count:,}{among} {rows} {value}"


def _short(category: str, most: int = 24) -> str:
    line = " ".join(category.split())
    return line if len(line) <= most else f"{line[: most - 3]}..."


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _left_out(manifest: Manifest) -> str:
    """Which rows are in no part, and why."""
    counts, rows = manifest.left_out or {}, manifest.rows or 0
    reasons = {
        "embargo": "data.split.embargo",
        "sizes": "the sizes in data.split add up to less",
        "series": "their series are too short for a window and its horizon",
        "across": "they would reach from one part into another",
    }
    forecast = manifest.task == "forecasting"
    in_windows = ("sizes", "across") if forecast else ()
    number = {
        name: _count(count, "window", "windows") if name in in_windows else f"{count:,} of {rows:,}"
        for name, count in counts.items()
    }
    return ", ".join(f"{number[name]} ({reasons[name]})" for name in counts)


def _dates(manifest: Manifest) -> str:
    """Which columns of dates became categories, and what to write instead."""
    if not manifest.dates:
        return ""
    columns = ", ".join(f"{name} ({_count(count, 'value', 'values')})" for name, count in manifest.dates.items())
    one = len(manifest.dates) == 1
    what = f"column {columns} holds dates and becomes" if one else f"columns {columns} hold dates and become"
    mend = f"data.drop: [{', '.join(manifest.dates)}]"
    if manifest.split["by"] == "random":
        first = next(iter(manifest.dates))
        mend = f"data.split: {{by: {{time: {first}}}}} so that later rows are the test, or {mend}"
    return f"{what} words, a feature for each value of the training rows; write {mend}"
