"""The pyfunc model that a champion is served by: MLflow runs this file when the model is loaded.

It stands alone: it imports no regsearch, reads no pickle, and finds among its artifacts `predict.py`, which does the
work, with the files that it needs. A request that cannot be answered is the client's error, in one line.
"""

import importlib.util
from pathlib import Path
from typing import Any

import mlflow.models
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class Champion(PythonModel):
    """Raw columns in; class probabilities (a column a class) or values in the target's units out."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the packaged model."""
        path = Path(context.artifacts["predict"])
        spec = importlib.util.spec_from_file_location("regsearch_champion_predict", path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} cannot be imported")
        predict = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(predict)
        self._model = predict.load(path.parent)

    # A DataFrame (or for array models, as the signature says, an array): MLflow reads this annotation and complains of
    # wider ones and of none.
    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Predict a table's rows, as `predict.py` does."""
        try:
            answer: pd.DataFrame = self._model(model_input)
        except ValueError as error:
            # The scoring server answers 400 to this, and 500 with a traceback to any other.
            raise MlflowException(" ".join(str(error).split()), INVALID_PARAMETER_VALUE) from None
        return answer


mlflow.models.set_model(Champion())
