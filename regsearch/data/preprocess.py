"""Fit the preprocessing of a table on its training rows alone, by scikit-learn, and export it as plain numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping

import numpy as np
import pandas as pd
from scipy.stats import norm
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, QuantileTransformer, RobustScaler, StandardScaler

from regsearch.data.columns import Column, Preprocessing, as_text, read_numbers, tokens
from regsearch.data.written import Reading, read_columns
from regsearch.errors import UserError
from regsearch.system.files import JsonObject

REACH = 10.0
"""Standard deviations from the mean that a value keeps, also where training reaches less far."""
_QUANTILES = 100


_HOLDS = {
    "boolean": "booleans",
    **dict.fromkeys(("integer", "floating", "mixed-integer-float", "decimal"), "numbers"),
    **dict.fromkeys(("datetime64", "datetime", "date"), "times"),
}


def holds(values: pd.Series) -> dict[str, str]:
    """Name what a column that is not numeric holds, as its entry says it; nothing for words."""
    what = _HOLDS.get(pd.api.types.infer_dtype(values.astype(object), skipna=True))
    return {"holds": what} if what else {}


def fit(
    train: pd.DataFrame, scaling: str = "standard", readings: Mapping[Hashable, Reading] | None = None
) -> Preprocessing:
    """Fit numeric columns (median imputation and scaling) and others (the most frequent value, one feature a category).

    Args:
        scaling: `standard`: (x - mean) / standard deviation, held within what training reaches or `REACH` standard
            deviations, whichever is farther. `robust`: the same with the median and the interquartile range, and the
            standard deviation where that is 0. `quantile`: the normal score of x among the training rows. `unbounded`:
            `standard` without a bound.
        readings: how each column is read; left out, as the training rows tell.

    Raises:
        UserError: a column has no value among the training rows.
    """
    columns: list[Column] = []
    readings = read_columns(train) if readings is None else readings
    for name in train.columns:
        values, reading = train[name], readings[name]
        entry: Column = {"name": name, "kind": "numeric", **reading.entry}
        numbers = _plain(entry, values) if reading.numeric else None
        if values.isna().all() or (numbers is not None and np.isnan(numbers).all()):
            allowed = f"leave it out: data.drop: [{name}]"
            raise UserError(
                "column has no value among the training rows", key="data.source", value=str(name), allowed=allowed
            )
        if numbers is not None:
            columns.append({**entry, **_numbers(numbers, scaling)})
        else:
            texts = as_text(values)[:, None]
            filler = SimpleImputer(strategy="most_frequent", missing_values=None).fit(texts)
            encoder = OneHotEncoder(handle_unknown="ignore").fit(filler.transform(texts))
            categories = [str(category) for category in encoder.categories_[0]]
            columns.append(
                {
                    "name": name,
                    "kind": "categorical",
                    "most_frequent": str(filler.statistics_[0]),
                    "categories": categories,
                    **holds(values),
                }
            )
    return Preprocessing(tuple(columns))


def _numbers(values: np.ndarray, scaling: str) -> JsonObject:
    """What a numeric column [N] is filled in and scaled by."""
    raw = values[:, None]
    imputer = SimpleImputer(strategy="median").fit(raw)
    filled = imputer.transform(raw)
    scaler = StandardScaler().fit(filled)
    median, mean, scale = float(imputer.statistics_[0]), float(scaler.mean_[0]), float(scaler.scale_[0])
    if scaling == "quantile":
        count = len(filled)
        ranks = QuantileTransformer(n_quantiles=min(_QUANTILES, count), subsample=None).fit(filled)
        shares = np.clip(ranks.references_, 0.5 / count, 1 - 0.5 / count)
        return {"median": median, "quantiles": ranks.quantiles_[:, 0].tolist(), "scores": norm.ppf(shares).tolist()}
    if scaling == "robust":
        robust = RobustScaler(unit_variance=True).fit(filled)
        spread = np.subtract(*np.percentile(filled, [75, 25]))
        mean, scale = float(robust.center_[0]), float(robust.scale_[0]) if spread > 0 else scale
    numbers = {"median": median, "mean": mean, "scale": scale}
    if scaling == "unbounded":
        return numbers
    reached = (filled - mean) / scale
    return {**numbers, "low": min(float(reached.min()), -REACH), "high": max(float(reached.max()), REACH)}


def far_values(fitted: Preprocessing, train: pd.DataFrame, other: pd.DataFrame) -> dict[str, int]:
    """Count the values of each numeric column of `other` that lie beyond the training rows and `REACH` deviations from
    their middle, as the column is scaled (without a bound, or by quantiles: as by `standard`); columns without any are
    left out.
    """
    counts = {}
    for column in fitted.columns:
        if column["kind"] == "numeric":
            name = column["name"]
            bounds = column if "low" in column else _numbers(_plain(column, train[name]), "standard")
            values = (_plain(column, other[name]) - bounds["mean"]) / bounds["scale"]
            counts[str(name)] = int(((values < bounds["low"]) | (values > bounds["high"])).sum())
    return {name: count for name, count in counts.items() if count}


def filled_values(fitted: Preprocessing, train: pd.DataFrame) -> dict[str, int]:
    """Count the values that each column lacks among the training rows, where it gets the median or the most frequent
    one; columns that lack none are left out.
    """
    counts = {}
    for column in fitted.columns:
        values = train[column["name"]]
        if column["kind"] == "numeric":
            counts[str(column["name"])] = int(np.isnan(_plain(column, values)).sum())
        elif column["kind"] == "categorical":
            counts[str(column["name"])] = sum(text is None for text in as_text(values))
    return {name: count for name, count in counts.items() if count}


def _plain(column: Column, values: pd.Series) -> np.ndarray:
    """The numbers of a numeric column as float64 [N], NaN where they are missing or infinite."""
    raw = np.array(read_numbers(column, values))
    raw[~np.isfinite(raw)] = np.nan
    return raw


def fit_codes(train: pd.DataFrame, names: tuple[str, ...]) -> Preprocessing:
    """Fit columns of users or items: each distinct value of the training rows gets a number, in order of appearance."""
    columns = []
    for name in names:
        values = [text for text in dict.fromkeys(as_text(train[name])) if text is not None]
        columns.append({"name": name, "kind": "code", "values": values, **holds(train[name])})
    return Preprocessing(tuple(columns))


def fit_tokens(train: pd.DataFrame, name: str, level: str, length: int, vocabulary: int, keep: str) -> Preprocessing:
    """Fit a column of texts: the vocabulary is the commonest tokens of the training rows, equal counts by the alphabet.

    Args:
        level: `words` or `characters`.
        length: tokens of a row; `keep`: the `first` or the `last` of a longer text.
        vocabulary: how many tokens to know, at most.

    Raises:
        UserError: the training rows hold no token.
    """
    counts = Counter(token for text in as_text(train[name]) for token in tokens(text, level))
    if not counts:
        raise UserError("column has no text among the training rows", key="data.text.column", value=name)
    ranked = sorted(counts, key=lambda token: (-counts[token], token))[:vocabulary]
    column = {"name": name, "kind": "tokens", "level": level, "length": length, "keep": keep, "vocabulary": ranked}
    return Preprocessing(({**column, **holds(train[name])},))
