"""Take a study's champion elsewhere: as a folder without regsearch, and from MLflow's registry as it is served.

Shows `export_study` and `mlflow.pyfunc`. Prints the answer, what the folder holds, and the probabilities that both
give to the same raw rows; `mlflow models serve -m models:/example-wine@champion --env-manager local` answers them
over HTTP.

    python examples/served_model.py
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd

from regsearch import Study
from regsearch.export import export_study


def main() -> None:
    """Run the study of wine.yaml, export its champion, and ask it both ways."""
    study = Study.from_file(Path(__file__).with_name("wine.yaml"))
    print(study.run(replace=True).sentence)

    folder = Path("wine-champion")
    export = export_study(study.name, folder, onnx=False, replace=True)
    print("the folder:", ", ".join(export.files))
    command = [sys.executable, str(folder / "predict.py"), str(folder / "example.csv")]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    print(printed.rstrip())

    mlflow.set_tracking_uri(study.uri)
    registered = mlflow.pyfunc.load_model(f"models:/{study.name}@champion")
    asked = registered.predict(pd.read_csv(folder / "example.csv"))
    alone = np.array([line.split(",") for line in printed.split()[1:]], dtype=float)
    print("the registered model agrees:", bool(np.allclose(asked.to_numpy(), alone, rtol=1e-5)))


if __name__ == "__main__":  # the study starts processes, which import this file
    main()
