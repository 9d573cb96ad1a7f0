"""How MLflow's pages show a study: which pages open first, and two named views of its runs. Standard library only.

MLflow draws one chart for each metric and groups charts by what stands before a `/` in a name, which regsearch's have
not; its named views keep columns, order, filter and groups of charts. A view is a tag of the experiment,
`mlflow.sharedViewState.<key>`; it stands under "Views" and opens by `?viewStateShareKey=<key>`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from regsearch.system.files import JsonObject

TRIALS, FINALS = "trials", "finals"
"""Keys of the two views."""
_LOSSES = ("train_loss", "val_loss")
_KIND, _REGULARIZERS = "tags.`regsearch.kind`", "tags.`regsearch.regularizers`"


def experiment_tags(
    objective: str, maximize: bool, metric: str, metrics: Sequence[str], time_ms: int
) -> dict[str, str]:
    """List the tags of a study's experiment.

    Args:
        objective: the (first) metric that the search ranks trials by.
        maximize: larger values of it are better.
        metric: the one of `metrics` that finals decide by.
        metrics: what is measured beside the loss (`accuracy`).
        time_ms: when the study began, milliseconds since 1970.
    """
    measured = (objective, "gap", f"val_{metric}")
    shown = [*dict.fromkeys(f"metrics.`{name}`" for name in measured), _REGULARIZERS]
    trials = _view(f"{_KIND} = 'trial'", objective, maximize, shown, metrics)
    final = ["params.`candidate`", *shown, "attributes.`Models`"]
    finals = _view(f"{_KIND} = 'final'", "val_loss", False, final, metrics)
    return {
        "mlflow.experimentKind": "custom_model_development",
        "mlflow.experiment.primaryMetric.name": objective,
        "mlflow.experiment.primaryMetric.greaterIsBetter": str(maximize).lower(),
        **{
            f"mlflow.sharedViewState.{key}": _named(title, view, time_ms)
            for key, title, view in ((TRIALS, "Trials, best first", trials), (FINALS, "Finals", finals))
        },
    }


def _named(title: str, view: JsonObject, time_ms: int) -> str:
    return json.dumps({"name": title, "createdAt": time_ms, "updatedAt": time_ms, "state": json.dumps(view)})


def _view(query: str, order: str, maximize: bool, columns: list[str], metrics: Sequence[str]) -> JsonObject:
    groups = {
        "Loss": _LOSSES,
        "Gap": ("gap", *(f"gap_{name}" for name in metrics)),
        "Metrics": tuple(f"{part}_{name}" for name in metrics for part in ("train", "val")),
    }
    return {
        "searchFilter": query,
        "orderByKey": f"metrics.`{order}`",
        "orderByAsc": not maximize,
        "selectedColumns": columns,
        "columnOrder": ["attributes.`Run Name`", "runDateAndNestInfo", *columns],
        "runsHiddenMode": "FIRST_10_RUNS",
        "compareRunSections": [_section(title) for title in groups],
        "isAccordionReordered": True,  # else MLflow sorts the groups by name
        "compareRunCharts": [_chart(name, title) for title, names in groups.items() for name in names],
    }


def _section(title: str) -> JsonObject:
    return {"uuid": title, "name": title, "display": True, "isReordered": False, "deleted": False, "isGenerated": True}


def _chart(metric: str, section: str) -> JsonObject:
    """A line over epochs; `isGenerated` keeps MLflow from drawing one more of the same metric."""
    return {
        "uuid": f"chart-{metric}",
        "type": "LINE",
        "metricSectionId": section,
        "metricKey": metric,
        "displayName": metric,
        "isGenerated": True,
        "deleted": False,
        "runsCountToCompare": 10,
        "xAxisKey": "step",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "scaleType": "linear",
        "xAxisScaleType": "linear",
        "lineSmoothness": 0,
        "range": {},
        "selectedXAxisMetricKey": "",
        "ignoreOutliers": False,
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }
