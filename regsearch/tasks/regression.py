"""Regression, and what else predicts values: mean squared error of the standardised target.

Legend: S seeds, N rows, H values per row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from regsearch.tasks.base import Array, Task, Tensors, task


@dataclass(frozen=True)
class Values(Task):
    """Base of the tasks that predict values.

    Args:
        scale, mean: of the training targets: stored ones are (value - mean) / scale; metrics are in the target's units.
        horizon: H, the values that one row predicts; stored targets are [N] where there is one, else [N, H].
    """

    metric = "rmse"
    higher = frozenset(("r2",))
    loss_words = "squared error (standardised)"
    scale: float = 1.0
    mean: float = 0.0
    horizon: int = 1

    @property
    def metrics_names(self) -> tuple[str, ...]:
        """`rmse`, `mae` and `r2`."""
        return ("rmse", "mae", "r2")

    def encode(self, y: torch.Tensor) -> torch.Tensor:
        """Encode stored targets [N] as [N, 1]; those of several values, [N, H], stay."""
        return y.unsqueeze(-1) if self.horizon == 1 else y

    def loss(self, out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Average (out - y)^2 over a row's values, [N]."""
        return (out - y).square().mean(-1)

    def metrics(self, out: torch.Tensor, y: torch.Tensor) -> Tensors:
        """Compute root mean squared error, mean absolute error, R² = 1 - squared error / variance of these targets."""
        target = self.encode(y)
        squared = self.loss(out, target).mean()
        spread = (target - target.mean()).square().mean()
        explained = torch.where(spread > 0, 1 - squared / spread.clamp(min=1e-12), 0.0)
        return {"rmse": squared.sqrt() * self.scale, "mae": (out - target).abs().mean() * self.scale, "r2": explained}

    def shape(self, rows: int) -> tuple[int | None, ...]:
        """Give the shape (N, H)."""
        return (rows, self.horizon)

    def judged(self, out: Array, y: Array) -> tuple[Array, Array]:
        """Convert to the target's units; of several values per row, the root of their mean squared error against 0."""
        if self.horizon == 1:
            return out[..., 0] * self.scale + self.mean, y * self.scale + self.mean
        return np.sqrt(np.square(out - y).mean(-1)) * self.scale, np.zeros(len(y))


@task
@dataclass(frozen=True)
class Regression(Values):
    """Mean squared error of the standardised target; root mean squared and mean absolute error in its own units, R²."""

    name = "regression"
