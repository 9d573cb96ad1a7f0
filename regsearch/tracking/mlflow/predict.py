"""A trained model by itself: raw columns in, class probabilities or values out. It needs torch, numpy and pandas alone.

This file is shipped with every model, beside `model.pt2` (the program, rows [N, F...] → [N, outputs...]),
`manifest.json` and, for tables, `columns.py` with the preprocessing. On the command line it answers a table:

    python predict.py rows.csv > answers.csv        # `-` reads standard input; models of arrays take .npy files too

From Python:

    from predict import load
    model = load()
    model(frame)
    model(model.read("rows.csv"))

Each value is read by itself, whatever stands in other rows.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

ROWS_AT_ONCE = 4096
SCHEMA = 4
"""The latest form of `manifest.json` that this file reads; one without a number is of the first."""
VALUES = ("regression", "forecasting", "recommendation")


class Model:
    """Class probabilities (a column a class) or values in the target's units, a row for each row given.

    A language model gives the probabilities of the token after the text, an autoencoder the code of each row. A
    forecast takes the rows of a series in the order of time: one row of the answer for each window that they hold.
    Where a column tells series apart, windows are of one series each, and the answer's first column says of which.

    Args:
        folder: holds `model.pt2`, `manifest.json` and, for tables, `columns.py`.

    Raises:
        ValueError: a newer regsearch wrote the manifest, or a file is not as it was written; in one line.
    """

    def __init__(self, folder: Path) -> None:
        self.manifest = _manifest(folder / "manifest.json")
        _check_sums(folder)
        self._program = _torch().export.load(folder / "model.pt2").module()
        self._preprocessing: Any = None
        if self.manifest.get("preprocessing") is not None:
            columns = _module(folder / "columns.py")
            self._preprocessing = columns.Preprocessing.from_json(self.manifest["preprocessing"])

    def __call__(self, rows: pd.DataFrame | np.ndarray) -> pd.DataFrame:
        """The answers to a table with named columns, or to an array [N, F...] where the model was trained on arrays.

        Raises:
            ValueError: a column is missing or holds what it may not, or the array has another shape; in one line.
        """
        features = self.features(rows)
        parts = [features[start : start + ROWS_AT_ONCE] for start in range(0, len(features), ROWS_AT_ONCE)]
        outputs = np.concatenate([self._run(part) for part in parts]) if parts else None
        if self.manifest["task"] in VALUES:
            column, horizon = self.manifest.get("target") or "prediction", int(self.manifest.get("outputs") or 1)
            names = [column] if horizon == 1 else [f"{column}+{step}" for step in range(1, horizon + 1)]
            values = np.empty((0, horizon)) if outputs is None else outputs.astype(np.float64)
            scaled = values.reshape(len(features), horizon) * float(self.manifest.get("target_scale") or 1.0)
            answers = pd.DataFrame(scaled + float(self.manifest.get("target_mean") or 0.0), columns=names)
            if getattr(self._preprocessing, "series", None) is not None:
                answers.insert(0, self._preprocessing.series, self._preprocessing.series_of_windows(rows))
            return answers
        if self.manifest["task"] == "clustering":
            code = np.empty((0, 0)) if outputs is None else outputs[:, int(self.manifest["outputs"]) :]
            return pd.DataFrame(code.astype(np.float64), columns=[f"code_{k}" for k in range(code.shape[1])])
        classes = self.manifest.get("classes") or range(int(self.manifest["outputs"]))
        if outputs is None:
            return pd.DataFrame(np.empty((0, len(classes))), columns=[str(name) for name in classes])
        outputs = outputs[:, -1] if self.manifest["task"] == "language_modelling" else outputs
        shifted = np.exp(outputs.astype(np.float64) - outputs.max(axis=1, keepdims=True))
        probabilities = shifted / shifted.sum(axis=1, keepdims=True)
        return pd.DataFrame(probabilities, columns=[str(name) for name in classes])

    def read(self, path: str | Path) -> pd.DataFrame | np.ndarray:
        """Read the rows of a file, for a call: a CSV table (`-` is standard input), or an array in a `.npy` file.

        Raises:
            ValueError: it is no such file; in one line.
        """
        if str(path).endswith(".npy"):
            array: np.ndarray = np.load(path, allow_pickle=False)
            return array
        file = sys.stdin if str(path) == "-" else path
        try:
            if self._preprocessing is None:
                return pd.read_csv(file, header=None, dtype=str)
            # Models packaged before it do not say how their columns are read.
            own = getattr(self._preprocessing, "read", pd.read_csv)
            table: pd.DataFrame = own(file)
        except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
            raise ValueError(f"not a CSV table: {' '.join(str(error).split())}") from None
        return table

    def features(self, rows: pd.DataFrame | np.ndarray) -> np.ndarray:
        """Convert rows to what the program takes, [N, F...] of its dtype; raises ValueError as a call does."""
        dtype = np.dtype(self.manifest.get("dtype") or "float32")
        if self._preprocessing is None:
            return self._array(rows, dtype)
        if not isinstance(rows, pd.DataFrame):
            raise ValueError(f"the model takes a table with named columns (got {type(rows).__name__})")
        twice = sorted({str(name) for name in rows.columns[rows.columns.duplicated()]})
        if twice:
            raise ValueError(f"the table has more than one column {', '.join(twice)}")
        return np.asarray(self._preprocessing.apply(rows), dtype=dtype)

    def _array(self, rows: pd.DataFrame | np.ndarray, dtype: np.dtype) -> np.ndarray:
        shape = tuple(self.manifest.get("inputs") or np.shape(rows)[1:])
        wanted = f"the model takes an array of the shape {('N', *shape)}".replace("'", "")
        try:
            values = np.asarray(rows, dtype=np.float64)
        except (TypeError, ValueError):
            raise ValueError(f"{wanted} of numbers") from None
        # A table without names, as CSV files and `dataframe_split` give it: its columns are the numbers of a row.
        if isinstance(rows, pd.DataFrame) and values.shape[1] == int(np.prod(shape)):
            values = values.reshape(len(values), *shape)
        if values.shape[1:] != shape or values.ndim == 0:
            raise ValueError(f"{wanted} (got {values.shape})")
        bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
        if len(bad):
            raise ValueError(f"row {bad[0]} of the array holds a number that is missing or not finite")
        return self._coded(values, dtype)

    def _coded(self, values: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Codes are whole numbers below those that the model counts over."""
        coded: np.ndarray = values.astype(dtype)
        if np.issubdtype(dtype, np.integer) and len(values):
            most = np.array(self.manifest.get("vocabulary") or [np.iinfo(dtype).max])
            if (coded != values).any() or (coded < 0).any() or (coded >= most).any():
                raise ValueError(f"the array must hold whole numbers from 0 to {int(most.max()) - 1}")
        return coded

    def _run(self, features: np.ndarray) -> np.ndarray:
        torch = _torch()
        with torch.no_grad():
            # Programs are exported for two rows or more, because one row is a shape of its own to the exporter.
            padded = np.concatenate([features, features]) if len(features) == 1 else features
            result: np.ndarray = self._program(torch.from_numpy(np.ascontiguousarray(padded))).numpy()
            return result[: len(features)]


def load(folder: str | Path | None = None) -> Model:
    """Load the model in `folder`, by default that of this file."""
    return Model(Path(folder) if folder is not None else Path(__file__).resolve().parent)


def _manifest(file: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is damaged: {' '.join(str(error).split())}") from None
    if not isinstance(manifest, dict):
        raise ValueError(f"{file} is damaged: it holds no JSON object")
    _check_schema(manifest.get("schema", 1), file)
    return manifest


def _check_sums(folder: Path) -> None:
    """Hold what the answers are made of against the sums beside it; a model without them is taken as it is."""
    sums = folder / "SHA256SUMS"
    known = dict(line.split("  ", 1)[::-1] for line in sums.read_text().splitlines()) if sums.is_file() else {}
    for name in ("model.pt2", "manifest.json", "columns.py"):
        if name in known and hashlib.sha256((folder / name).read_bytes()).hexdigest() != known[name]:
            raise ValueError(f"{folder / name} is damaged: its SHA-256 is not that in {sums.name}")


def _check_schema(version: object, file: Path) -> None:
    if not isinstance(version, int) or version > SCHEMA:
        written = f"written by a newer regsearch (schema {version}, this predict.py reads up to {SCHEMA})"
        raise ValueError(f"{file}: {written}; pip install -U regsearch, and export the model again")


def _torch() -> ModuleType:
    try:
        import torch
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"the model needs {error.name}, which is not installed: pip install -r requirements.txt", name=error.name
        ) from None
    return torch


def _module(path: Path) -> ModuleType:
    # Found again by its name while its dataclass is made; each model has its own.
    spec = importlib.util.spec_from_file_location(f"regsearch_champion_columns_{abs(hash(str(path)))}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


def main(words: list[str]) -> int:
    """Answer the rows of a file on standard output; 2 and one line on standard error for what cannot be used."""
    if len(words) != 1 or words[0] in ("-h", "--help"):
        print("usage: python predict.py ROWS.csv > ANSWERS.csv", file=sys.stderr)
        return 0 if words in (["-h"], ["--help"]) else 2
    try:
        model = load()
    except (ValueError, OSError, ModuleNotFoundError) as error:
        print(f"predict.py: {error}", file=sys.stderr)
        return 2
    try:
        answers = model(model.read(words[0]))
    except (ValueError, OSError, ModuleNotFoundError) as error:
        print(f"predict.py: {words[0]}: {error}", file=sys.stderr)
        return 2
    answers.to_csv(sys.stdout, index=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
