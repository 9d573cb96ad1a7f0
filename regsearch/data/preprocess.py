"""Fit the preprocessing of a table on its training rows alone, by scikit-learn, and export it as plain numbers."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from regsearch.data.columns import Preprocessing, as_text, tokens
from regsearch.errors import UserError


def is_numeric(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


_HOLDS = {
    "boolean": "booleans",
    **dict.fromkeys(("integer", "floating", "mixed-integer-float", "decimal"), "numbers"),
    **dict.fromkeys(("datetime64", "datetime", "date"), "times"),
}


def holds(values: pd.Series) -> dict[str, str]:
    """What a column that is not numeric holds, as its entry says it; nothing for words."""
    what = _HOLDS.get(pd.api.types.infer_dtype(values.astype(object), skipna=True))
    return {"holds": what} if what else {}


def fit(train: pd.DataFrame) -> Preprocessing:
    """Numeric columns: median imputation, standard scaling. Others: the most frequent value, one feature a category.

    Raises:
        UserError: a column has no value among the training rows.
    """
    columns = []
    for name in train.columns:
        values = train[name]
        if values.isna().all():
            raise UserError("column has no value among the training rows", key="data.source", value=str(name))
        if is_numeric(values):
            raw = np.array(values.to_numpy(dtype=np.float64, na_value=np.nan))[:, None]
            raw[~np.isfinite(raw)] = np.nan
            imputer = SimpleImputer(strategy="median").fit(raw)
            scaler = StandardScaler().fit(imputer.transform(raw))
            numbers = {"median": imputer.statistics_[0], "mean": scaler.mean_[0], "scale": scaler.scale_[0]}
            columns.append({"name": name, "kind": "numeric", **{k: float(v) for k, v in numbers.items()}})
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


def fit_codes(train: pd.DataFrame, names: tuple[str, ...]) -> Preprocessing:
    """Columns of users or items: each distinct value of the training rows gets a number, in order of appearance."""
    columns = []
    for name in names:
        values = [text for text in dict.fromkeys(as_text(train[name])) if text is not None]
        columns.append({"name": name, "kind": "code", "values": values, **holds(train[name])})
    return Preprocessing(tuple(columns))


def fit_tokens(train: pd.DataFrame, name: str, level: str, length: int, vocabulary: int, keep: str) -> Preprocessing:
    """A column of texts: the vocabulary is the commonest tokens of the training rows, equal counts by the alphabet.

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
