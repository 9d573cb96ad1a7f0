"""A study as MLflow's own client reads it back: what two lanes, or an interrupted and a whole delivery, must share."""

from __future__ import annotations

import math
from typing import Any

from mlflow import MlflowClient

from regsearch.tracking.mlflow.changes import PARENT_TAG


def snapshot(uri: str, study: str = "digits") -> dict[str, Any]:
    """Every run by name, with all that MLflow knows of it but its random identifiers."""
    client = MlflowClient(uri, uri)
    experiment = client.get_experiment_by_name(study)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=5000)
    names = {run.info.run_id: run.info.run_name for run in runs}
    found: dict[str, Any] = {}
    for run in runs:
        info, data = run.info, run.data
        assert info.run_name not in found, f"{info.run_name} is there twice"
        assert info.artifact_uri == f"{experiment.artifact_location}/{info.run_id}/artifacts"
        tags = dict(data.tags)
        if PARENT_TAG in tags:
            tags[PARENT_TAG] = names[tags[PARENT_TAG]]
        found[info.run_name] = {
            "status": info.status,
            "times": (info.start_time, info.end_time),
            "user": info.user_id,
            "stage": info.lifecycle_stage,
            "tags": tags,
            "params": data.params,
            "latest": {name: _plain(value) for name, value in data.metrics.items()},
            "histories": {
                name: [(point.step, point.timestamp, _plain(point.value)) for point in history]
                for name, history in sorted(
                    (name, client.get_metric_history(info.run_id, name)) for name in data.metrics
                )
            },
            "inputs": [
                (one.dataset.to_dictionary(), [(tag.key, tag.value) for tag in one.tags])
                for one in (run.inputs.dataset_inputs if run.inputs else [])
            ],
        }
    return found


def _plain(value: float) -> float | str:
    return "nan" if math.isnan(value) else value
