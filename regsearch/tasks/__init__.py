"""What a model is trained for: the loss of each row, and the metrics of each epoch. One declaration per task.

Legend: N rows, C outputs.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F


class Task(Protocol):
    """One kind of supervised learning. `metric` is the one that finals decide by; `higher` names metrics to
    maximise.
    """

    @property
    def name(self) -> str: ...

    @property
    def metric(self) -> str: ...

    @property
    def metrics_names(self) -> tuple[str, ...]: ...

    @property
    def higher(self) -> frozenset[str]: ...

    def encode(self, y: torch.Tensor) -> torch.Tensor:
        """Stored targets [N] to training targets [N, C]."""
        ...

    def loss(self, out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Outputs [N, C] and training targets [N, C] to the data loss of each row, [N]."""
        ...

    def metrics(self, out: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
        """Outputs [N, C] and stored targets [N] to each metric, a scalar."""
        ...


class Classification:
    """Cross-entropy in nats; accuracy and balanced accuracy (mean over the classes present of the share right)."""

    name, metric = "classification", "balanced_accuracy"
    metrics_names = ("accuracy", "balanced_accuracy")
    higher = frozenset(metrics_names)

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def encode(self, y: torch.Tensor) -> torch.Tensor:
        return (y.unsqueeze(-1) == torch.arange(self.classes)).to(torch.float32)

    def loss(self, out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return -(F.log_softmax(out, -1) * y).sum(-1)

    def metrics(self, out: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
        right = (out.argmax(-1) == y).to(torch.float32)
        member = self.encode(y)
        count = member.sum(0)
        share = (member * right.unsqueeze(-1)).sum(0) / count.clamp(min=1)
        return {"accuracy": right.mean(), "balanced_accuracy": share.sum() / (count > 0).sum()}


class Regression:
    """Mean squared error of the standardised target; root mean squared error in the target's own units."""

    name, metric = "regression", "rmse"
    metrics_names = ("rmse",)
    higher: frozenset[str] = frozenset()

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def encode(self, y: torch.Tensor) -> torch.Tensor:
        return y.unsqueeze(-1)

    def loss(self, out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (out - y).square().mean(-1)

    def metrics(self, out: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"rmse": self.loss(out, self.encode(y)).mean().sqrt() * self.scale}


def make_task(name: str, outputs: int, target_scale: float) -> Task:
    """The task that a study names: `classification` with `outputs` classes, or `regression`.

    Raises:
        ValueError: another name.
    """
    if name == "classification":
        return Classification(outputs)
    if name == "regression":
        return Regression(target_scale)
    raise ValueError(f"task {name!r} is not known; allowed are classification, regression")
