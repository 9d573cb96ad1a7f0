"""What a model is trained for: the loss of each row, and the metrics of each epoch. One declaration per task."""

from __future__ import annotations

import math

from regsearch.tasks.base import TASKS, Task
from regsearch.tasks.classification import Classification
from regsearch.tasks.clustering import Clustering
from regsearch.tasks.forecasting import Forecasting
from regsearch.tasks.language import LanguageModelling
from regsearch.tasks.recommendation import Recommendation
from regsearch.tasks.regression import Regression, Values


def make_task(
    name: str,
    outputs: int,
    target_scale: float = 1.0,
    target_mean: float = 0.0,
    inputs: tuple[int, ...] = (),
    groups: int = 0,
    auc: bool | None = None,
) -> Task:
    """Make the task that a study names, for the data it has.

    Args:
        outputs: classes, tokens, or values that a row predicts.
        target_scale, target_mean: of the training targets, for tasks that predict values.
        inputs: the shape of a row; groups: known groups; both for clustering alone.
        auc: for classification alone.

    Raises:
        ValueError: an unknown name.
    """
    kind = TASKS.get(name)
    if kind is None:
        raise ValueError(f"task {name!r} is not known; allowed are {', '.join(TASKS)}")
    if issubclass(kind, Values):
        return kind(target_scale, target_mean, outputs)
    if kind is Classification:
        return Classification(outputs, auc)
    if kind is Clustering:
        return Clustering(math.prod(inputs), groups)
    return LanguageModelling(outputs)


__all__ = [
    "TASKS",
    "Classification",
    "Clustering",
    "Forecasting",
    "LanguageModelling",
    "Recommendation",
    "Regression",
    "Task",
    "make_task",
]
