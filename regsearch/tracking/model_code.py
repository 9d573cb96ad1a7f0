"""The pyfunc model that a champion is served by: MLflow runs this file when the model is loaded.

It stands alone: it imports no regsearch, reads no pickle, and finds beside it `model.pt2` (the trained program, [N,
F...] float32 or int64 → [N, outputs...]), `manifest.json` and, for tables, `columns.py` with the fitted preprocessing.
"""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import mlflow.models
import numpy as np
import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext

ROWS_AT_ONCE = 4096
VALUES = ("regression", "forecasting", "recommendation")


class Champion(PythonModel):
    """Raw columns in; class probabilities (a column a class) or values in the target's units out.

    A language model gives the probabilities of the token after the text, an autoencoder the code of each row. A
    forecast takes the rows of a series in the order of time: one row of the answer for each window that they hold.
    """

    def load_context(self, context: PythonModelContext) -> None:
        import torch

        self._torch = torch
        self._manifest = json.loads(Path(context.artifacts["manifest"]).read_text())
        self._program = torch.export.load(context.artifacts["model"]).module()
        self._preprocessing: Any = None
        if self._manifest.get("preprocessing") is not None:
            columns = _module(Path(context.artifacts["columns"]))
            self._preprocessing = columns.Preprocessing.from_json(self._manifest["preprocessing"])

    # A DataFrame (or for array models, as the signature says, an array): MLflow reads this annotation and complains of
    # wider ones and of none.
    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        features = self._features(model_input)
        outputs = np.concatenate([self._run(part) for part in _parts(features)]) if len(features) else None
        if self._manifest["task"] in VALUES:
            column, horizon = self._manifest.get("target") or "prediction", int(self._manifest.get("outputs") or 1)
            names = [column] if horizon == 1 else [f"{column}+{step}" for step in range(1, horizon + 1)]
            values = np.empty((0, horizon)) if outputs is None else outputs.astype(np.float64)
            scaled = values.reshape(len(features), horizon) * float(self._manifest.get("target_scale") or 1.0)
            return pd.DataFrame(scaled + float(self._manifest.get("target_mean") or 0.0), columns=names)
        if self._manifest["task"] == "clustering":
            code = np.empty((0, 0)) if outputs is None else outputs[:, int(self._manifest["outputs"]) :]
            return pd.DataFrame(code.astype(np.float64), columns=[f"code_{k}" for k in range(code.shape[1])])
        classes = self._manifest.get("classes") or range(int(self._manifest["outputs"]))
        if outputs is None:
            return pd.DataFrame(np.empty((0, len(classes))), columns=[str(name) for name in classes])
        outputs = outputs[:, -1] if self._manifest["task"] == "language_modelling" else outputs
        shifted = np.exp(outputs.astype(np.float64) - outputs.max(axis=1, keepdims=True))
        probabilities = shifted / shifted.sum(axis=1, keepdims=True)
        return pd.DataFrame(probabilities, columns=[str(name) for name in classes])

    def _features(self, given: Any) -> np.ndarray:
        """[N, F...], of the dtype that the program takes."""
        dtype = np.dtype(self._manifest.get("dtype") or "float32")
        if self._preprocessing is None:
            return np.asarray(given, dtype=dtype)
        if not isinstance(given, pd.DataFrame):
            raise ValueError(f"the model takes a table with named columns (got {type(given).__name__})")
        return np.asarray(self._preprocessing.apply(given), dtype=dtype)

    def _run(self, features: np.ndarray) -> np.ndarray:
        with self._torch.no_grad():
            # Programs are exported for two rows or more, because one row is a shape of its own to the exporter.
            padded = np.concatenate([features, features]) if len(features) == 1 else features
            result: np.ndarray = self._program(self._torch.from_numpy(np.ascontiguousarray(padded))).numpy()
            return result[: len(features)]


def _parts(features: np.ndarray) -> list[np.ndarray]:
    return [features[start : start + ROWS_AT_ONCE] for start in range(0, len(features), ROWS_AT_ONCE)]


def _module(path: Path) -> ModuleType:
    # Found again by its name while its dataclass is made; each model has its own.
    spec = importlib.util.spec_from_file_location(f"regsearch_champion_columns_{abs(hash(str(path)))}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


mlflow.models.set_model(Champion())
