"""From raw rows to the arrays of each part: what is fitted is fitted on training rows alone.

Legend: N rows of a part, F features, W rows of a window, H of a horizon, L positions of a text.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from regsearch.data.arrays import LARGEST, no_column
from regsearch.data.columns import FIRST, Preprocessing, TooFar, Vocabulary, as_text, canonical, tokens, windows
from regsearch.data.preprocess import far_values, filled_values, fit, fit_codes, fit_tokens
from regsearch.data.rules import TODAY, CutRules
from regsearch.data.series import cut_windows, rows_of_windows
from regsearch.data.sources import missing_signs
from regsearch.data.split import PARTS, Rows, left_out, split_rows
from regsearch.data.times import is_of_dates
from regsearch.data.written import Reading, is_numeric, read_columns, types_alone, written_like
from regsearch.errors import UserError
from regsearch.system.files import JsonObject

if TYPE_CHECKING:
    from regsearch.config import DataConfig
    from regsearch.data.arrays import Table

Array = np.ndarray
# Parts a language model's texts where one ends and the next begins.
_END_OF_TEXT = "\n"


@dataclass(frozen=True)
class Parts:
    """The arrays of a split.

    Args:
        x, y: by part, [N, F...] and [N...].
        rows: by part, which rows (windows, texts) of the source these are.
        example: a few raw rows, see `regsearch.tracking.mlflow.champion.read_example`.
        about: what else the manifest says, see `regsearch.data.manifest.Manifest`.
        cases: which rows of the source the test predicts, where these are others than its `rows`.
    """

    x: dict[str, Array]
    y: dict[str, Array]
    rows: Rows
    preprocessing: JsonObject | None
    example: JsonObject
    about: JsonObject
    cases: Array | None = None


def make_parts(table: Table, config: DataConfig, rules: CutRules = TODAY) -> Parts:
    """Split the rows and turn them into arrays, as the task needs them.

    Args:
        rules: of the version that that cuts them.

    Raises:
        UserError: a part is empty, a column is missing or cannot be used, or rows do not have the shape asked for.
    """
    _check_named(table, config)
    if table.task == "forecasting":
        return _forecasts(table, config, rules)
    if table.task == "language_modelling" and isinstance(table.x, pd.DataFrame):
        return _continued_texts(table, config, rules)
    if isinstance(table.x, pd.DataFrame):
        _feature_columns(table, config)  # a column that is missing is named before anything is split by it
    rows = split_rows(table, config.split, rules.every_row)
    x, fitted, example = _features(table, config, rows, rules)
    y, about = _targets(table, rows["train"], x)
    if rules.every_row and table.task == "classification":
        _refuse_unseen(table, rows["train"])
    about |= {"auc": config.area_under_curve, "vocabulary": _vocabulary(table, fitted)}
    about |= {"rows": len(table.y), "left_out": left_out(rows, len(table.y), config.split)}
    if fitted is not None and isinstance(table.x, pd.DataFrame):
        about["dates"] = _dates(table.x, fitted)
        train, validation = (table.x.iloc[rows[part]] for part in ("train", "validation"))
        about |= {"far": far_values(fitted, train, validation), "filled": filled_values(fitted, train)}
        about["written"] = written_like(fitted.columns, train)
    preprocessing = None if fitted is None else _saved(fitted, config)
    return Parts(_cut(x, rows), _cut(y, rows), rows, preprocessing, example, about)


def _cut(whole: Array, rows: Rows) -> dict[str, Array]:
    return {part: np.ascontiguousarray(whole[rows[part]]) for part in PARTS}


def _features(
    table: Table, config: DataConfig, rows: Rows, rules: CutRules
) -> tuple[Array, Preprocessing | None, JsonObject]:
    if not isinstance(table.x, pd.DataFrame):
        x = _shaped(table.x, config) if config.shape else table.x
        return x, None, {"inputs": x[rows["train"][:5]].tolist()}
    frame = _feature_columns(table, config)
    train = frame.iloc[rows["train"]]
    if config.text is not None:
        text = config.text
        fitted = fit_tokens(train, text.column, text.level, text.length, text.vocabulary, "first")
    elif table.task == "recommendation":
        fitted = fit_codes(train, tuple(frame.columns))
    else:
        fitted = fit(train, config.scaling, _readings(frame, config, rules))
    if config.shape:
        _shaped(fitted.apply(train.head(1), trained=True), config)
        fitted = Preprocessing(fitted.columns, tuple(config.shape))
    return _applied(fitted, frame, config), fitted, _example(train.head(5))


def _readings(frame: pd.DataFrame, config: DataConfig, rules: CutRules) -> dict[Hashable, Reading]:
    """How the columns are read."""
    return read_columns(frame, config) if rules.numbers_in_texts else types_alone(frame)


def _check_named(table: Table, config: DataConfig) -> None:
    """Refuse what `data.columns` says of what is no feature, or becomes codes."""
    coded = (config.text and config.text.column, config.user, config.item)
    for name in config.columns:
        if not isinstance(table.x, pd.DataFrame) or name not in table.x.columns or name == table.target:
            raise no_column(table, "data.columns", name)
        if name in (config.split.column, config.series, *coded) or config.text or config.user:
            what = "becomes codes" if name in coded else "is no feature"
            raise UserError(what, key="data.columns", value=name, allowed="name a column of numbers or categories")


def _applied(fitted: Preprocessing, frame: pd.DataFrame, config: DataConfig) -> Array:
    """The rows of x, preprocessed."""
    try:
        return fitted.apply(frame, trained=True)
    except TooFar as error:
        allowed = "allowed are standard, robust and quantile, which hold it at a bound"
        raise UserError(str(error), key="data.scaling", value=config.scaling, allowed=allowed) from None


def _feature_columns(table: Table, config: DataConfig) -> pd.DataFrame:
    """The columns that x is made of."""
    assert isinstance(table.x, pd.DataFrame), "arrays have no columns"
    frame = table.x
    wanted = [config.text.column] if config.text else [str(config.user), str(config.item)] if config.user else None
    if wanted is not None:
        gone = [name for name in wanted if name not in frame.columns]
        if gone:
            key = "data.text.column" if config.text else "data.user" if gone[0] == config.user else "data.item"
            raise no_column(table, key, gone[0])
        return frame[wanted]
    by = config.split.column if config.split.kind != "user" else None
    frame = frame.drop(columns=[by] if by else [], errors="ignore")
    if frame.shape[1] == 0:
        raise UserError("no feature column is left", key="data.source", value=config.source)
    return frame


def _saved(fitted: Preprocessing, config: DataConfig) -> JsonObject:
    return replace(fitted, missing=missing_signs(config.source)).to_json()


def _dates(frame: pd.DataFrame, fitted: Preprocessing) -> dict[str, int]:
    """Count the distinct values of each column of dates whose values became categories."""
    words = [column["name"] for column in fitted.columns if column["kind"] == "categorical"]
    return {str(name): int(frame[name].nunique()) for name in words if is_of_dates(frame[name])}


def _example(head: pd.DataFrame) -> JsonObject:
    """Rows as JSON has them: numbers and truth values as such, anything else in the text form of `canonical`."""
    cells = [_cells(head[name]) for name in head.columns]
    return {"columns": list(head.columns), "data": [list(row) for row in zip(*cells, strict=True)]}


def _cells(values: pd.Series) -> list[object]:
    if not is_numeric(values) and not pd.api.types.is_bool_dtype(values):
        return [_cell(value) for value in values.astype(object)]
    plain = (value if isinstance(value, int | float) or pd.isna(value) else float(value) for value in values.tolist())
    return [None if pd.isna(value) else value for value in plain]


def _cell(value: object) -> object:
    """A value of a column without a type of its own: a number as such, where that is the same number."""
    number = float(value) if isinstance(value, int | float | Decimal) and not isinstance(value, bool) else None
    same = number is not None and math.isfinite(number) and canonical(number) == canonical(value)
    return number if same else canonical(value)


def _shaped(x: Array, config: DataConfig) -> Array:
    assert config.shape is not None, "asked for before"
    if math.prod(config.shape) != math.prod(x.shape[1:]):
        allowed = f"a row has {math.prod(x.shape[1:])} values"
        raise UserError("does not fit a row", key="data.shape", value=list(config.shape), allowed=allowed)
    return x.reshape(len(x), *config.shape)


def _vocabulary(table: Table, fitted: Preprocessing | None) -> list[int] | None:
    """How many codes each position of x counts over, those for padding and the unknown included; None for numbers."""
    if fitted is None:
        return None if table.vocabulary is None else list(table.vocabulary)
    sizes = [len(each["values"]) + 1 for each in fitted.columns if each["kind"] == "code"]
    return sizes or [len(each["vocabulary"]) + FIRST for each in fitted.columns if each["kind"] == "tokens"] or None


def _targets(table: Table, train: Array, x: Array) -> tuple[Array, JsonObject]:
    if table.tokens is not None and table.vocabulary is not None:
        return table.tokens, {"outputs": table.vocabulary[0]}
    if table.task == "classification":
        codes, classes = _codes(table.y)
        return codes, {"classes": classes, "outputs": len(classes)}
    if table.task == "clustering":
        if not np.issubdtype(x.dtype, np.floating):
            raise UserError("an autoencoder takes numbers, not codes", key="data.task", value="clustering")
        codes, classes = _codes(table.y) if table.target else (np.full(len(x), -1), [])
        flat = x.reshape(len(x), -1)
        y = np.concatenate([flat, codes[:, None].astype(np.float32)], axis=1)
        return y, {"classes": classes or None, "outputs": flat.shape[1]}
    return _standardised(table.y.to_numpy(dtype=np.float64), train)


def _refuse_unseen(table: Table, train: Array) -> None:
    """Refuse a class that has no training row, which no model would ever say."""
    unseen = np.flatnonzero(~table.y.isin(table.y.iloc[train]).to_numpy())
    if len(unseen):
        label = table.y.iloc[int(unseen[0])]
        count = int((table.y == label).sum())
        rows = f"row {unseen[0] + 1} alone" if count == 1 else f"{count} rows, first in row {unseen[0] + 1}"
        raise UserError(
            f"class {label} has no training row ({rows})",
            key="data.split",
            value=table.target,
            allowed="split so that training has some of each class, or leave those rows out",
        )


def _codes(labels: pd.Series) -> tuple[Array, list[object]]:
    classes = sorted(set(labels.tolist()), key=lambda label: (str(type(label)), label))
    code = {label: index for index, label in enumerate(classes)}
    return np.array([code[label] for label in labels.tolist()], dtype=np.int64), classes


def _standardised(values: Array, train: Array) -> tuple[Array, JsonObject]:
    mean, scale = float(values[train].mean()), float(values[train].std()) or 1.0
    about = {"outputs": 1, "target_mean": mean, "target_scale": scale}
    scaled = (values - mean) / scale
    far = np.flatnonzero(np.abs(scaled) > math.sqrt(LARGEST))  # whose squared error would be infinite
    if len(far):
        lies = f"lies {abs(scaled[far[0]]):.2g} standard deviations of the training rows off"
        raise UserError(f"the target of row {far[0] + 1} {lies}", key="data.target", allowed="leave that row out")
    return scaled.astype(np.float32), about


def _forecasts(table: Table, config: DataConfig, rules: CutRules) -> Parts:
    """Windows [N, W, F] of the columns, the target's past among them, and the H values [N] or [N, H] that follow."""
    cut = cut_windows(table, config, rules.every_row)
    size, horizon = cut.size, cut.horizon
    train, validation, test = (cut.starts[cut.rows[part]] for part in PARTS)
    features = cut.frame.drop(columns=[config.series] if config.series else [])
    seen = rows_of_windows(train, size)
    assert isinstance(table.x, pd.DataFrame), "windows are cut from a table"
    readings = _readings(table.x[features.columns], config, rules)
    fitted = Preprocessing(fit(features.iloc[seen], config.scaling, readings).columns)
    x = windows(_applied(fitted, features, config), size)[cut.starts]
    values = cut.frame[table.target].to_numpy(dtype=np.float64)
    scaled, about = _standardised(values, rows_of_windows(train, size + horizon))
    ahead = windows(scaled[:, None], horizon)[cut.starts + size, :, 0]
    y = ahead[:, 0] if horizon == 1 else ahead
    far = far_values(fitted, features.iloc[seen], features.iloc[rows_of_windows(validation, size)])
    served = Preprocessing(fitted.columns, window=size, series=config.series)
    first = seen[cut.series[seen] == cut.series[seen[0]]]
    example = _example(cut.frame.iloc[first].head(size + 4))
    cases = cut.source[rows_of_windows(test + size, horizon)]
    about |= {"outputs": horizon, "far": far, "dates": _dates(features, fitted)}
    about |= {"filled": filled_values(fitted, features.iloc[seen])}
    about["written"] = written_like(fitted.columns, features.iloc[seen])
    about |= {"rows": len(table.y), "left_out": cut.left_out}
    return Parts(
        _cut(x, cut.rows), _cut(y, cut.rows), cut.rows, _saved(served, config), example, about, np.unique(cases)
    )


def _continued_texts(table: Table, config: DataConfig, rules: CutRules) -> Parts:
    """Texts are shared out and those of a part joined and cut into windows x [N, L]; y [N, L] is the token after each.

    What is left of the last window is dropped, so that there is no padding.
    """
    assert config.text is not None, "the task needs it"
    text, rows = config.text, split_rows(table, config.split, rules.every_row)
    column = _feature_columns(table, config)
    train = column.iloc[rows["train"]]
    fitted = fit_tokens(train, text.column, text.level, text.length, text.vocabulary, "last")
    if _END_OF_TEXT not in fitted.columns[0]["vocabulary"]:
        fitted.columns[0]["vocabulary"].append(_END_OF_TEXT)
    x, y = {}, {}
    for part in PARTS:
        stream: list[str] = []
        for each in as_text(column.iloc[rows[part]][text.column]):
            stream += [*tokens(each, text.level), _END_OF_TEXT]
        codes = np.array(Vocabulary(fitted.columns[0]).codes(stream), dtype=np.int64)
        count = max(0, len(codes) - 1) // text.length
        if count == 0 and (part != "test" or config.split.test > 0):
            allowed = f"the part holds {len(codes)} tokens"
            raise UserError(f"no window is left for {part}", key="data.text.length", value=text.length, allowed=allowed)
        used = count * text.length
        x[part], y[part] = (codes[start : start + used].reshape(count, text.length) for start in (0, 1))
    vocabulary = ["<padding>", "<unknown>", *fitted.columns[0]["vocabulary"]]
    about = {"outputs": len(vocabulary), "vocabulary": [len(vocabulary)], "classes": vocabulary}
    about |= {"rows": len(table.y), "left_out": left_out(rows, len(table.y), config.split)}
    return Parts(x, y, rows, _saved(fitted, config), _example(train.head(5)), about)
