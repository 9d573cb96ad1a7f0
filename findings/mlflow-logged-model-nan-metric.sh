#!/usr/bin/env bash
# mlflow 3.17.2 with a SQLite store: a metric that is NaN, as of a training that diverged, is given back as NaN by the run
# that logged it and as 0.0 by the logged model that it was linked to: a model that failed looks like a perfect one.
#
# Seen: run {'loss': nan}, its history [nan], the logged model 0.0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check mlflow==3.17.2
export MLFLOW_DISABLE_TELEMETRY=true
"$folder/env/bin/python" -W ignore - "$folder" 2>/dev/null <<'PYTHON'
import math
import sys

import mlflow

uri = f"sqlite:///{sys.argv[1]}/mlflow.db"
client = mlflow.MlflowClient(uri, uri)
experiment = client.create_experiment("diverged", artifact_location=f"{sys.argv[1]}/artifacts")
run = client.create_run(experiment).info.run_id
model = client.create_logged_model(experiment, "model", run).model_id
client.log_metric(run, "loss", float("nan"), step=1, model_id=model)
on_run = client.get_run(run).data.metrics["loss"]
history = [metric.value for metric in client.get_metric_history(run, "loss")]
on_model = [metric.value for metric in client.get_logged_model(model).metrics]
print(f"mlflow {mlflow.__version__}: run {on_run}, history {history}, logged model {on_model}")
assert math.isnan(on_run) and math.isnan(history[0]) and on_model == [0.0], "this has changed"
PYTHON
