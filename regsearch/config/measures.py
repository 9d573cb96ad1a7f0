"""What a trial can be judged by: its tracked metrics, and which way each is better. Standard library only."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Literal

LOSSES = ("train_loss", "val_loss", "gap")
OF_WEIGHTS = ("sparsity", "weight_norm")
"""Of the weights that are measured; `regsearch.core.diagnostics` has what they are. Tracked of every trial where asked
for, else of those whose regularizers are about it."""
EPOCHS = "epochs"
"""What a trial's training costs: the epochs that it was trained, until its own early stopping ended it. Seconds would
depend on the machine and on whoever else uses it, and the answer with them."""
VIOLATION = "violation"
"""By how much a trial breaks the study's constraints, added up; tracked where there are some."""
Direction = Literal["minimize", "maximize"]


def measures(metrics: Iterable[str]) -> tuple[str, ...]:
    """List all that a trial of a task with these metrics can be judged by."""
    of_task = (f"{part}_{name}" for part in ("train", "val", "gap") for name in metrics)
    return (*LOSSES, *of_task, *OF_WEIGHTS, EPOCHS)


def direction(name: str, higher: Collection[str]) -> Direction:
    """Tell whether less or more of a measure is better.

    Args:
        higher: the task's metrics of which more is better; a gap is signed so that less always is.
    """
    part, _, metric = name.partition("_")
    up = name == "sparsity" or (part in ("train", "val") and metric in higher)
    return "maximize" if up else "minimize"
