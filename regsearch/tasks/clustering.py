"""Clustering: an autoencoder's reconstruction, and how well k-means on its code finds known groups.

Legend: S seeds, N rows, D values of a row, K values of the code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from regsearch.tasks.base import Array, Task, Tensors, task


@task
@dataclass(frozen=True)
class Clustering(Task):
    """Mean squared error of the reconstruction, in the standardised units of x; its root is the metric of finals.

    Outputs are [N, D + K]: the reconstruction, then the code. Stored targets are [N, D + 1]: the row itself, then the
    code of its known group (-1 where none is known), which training never sees. The normalized mutual information of
    k-means on the code with those groups is measured at finals alone, outside the traced graph: it says what the code
    is good for, while the claim rests on the reconstruction, which every row measures.

    Args:
        width: D, the values of a row.
        groups: how many groups k-means looks for; 0 measures no mutual information.
    """

    name, metric = "clustering", "rmse"
    loss_words = "squared error of the reconstruction"
    width: int
    groups: int = 0

    @property
    def metrics_names(self) -> tuple[str, ...]:
        """`rmse` alone."""
        return ("rmse",)

    def encode(self, y: torch.Tensor) -> torch.Tensor:
        """Encode stored targets [N, D + 1] as rows [N, D], without the group."""
        return y[..., : self.width]

    def loss(self, out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Average (reconstruction - y)^2 over a row's values, [N]."""
        return (out[..., : self.width] - y).square().mean(-1)

    def metrics(self, out: torch.Tensor, y: torch.Tensor) -> Tensors:
        """Compute the root of the mean loss."""
        return {"rmse": self.loss(out, self.encode(y)).mean().sqrt()}

    def shape(self, rows: int) -> tuple[int | None, ...]:
        """Give the shape (N, any): the code may have any width."""
        return (rows, None)

    def judged(self, out: Array, y: Array) -> tuple[Array, Array]:
        """Compute the root of each row's mean squared error; its truth is 0."""
        wrong = out[..., : self.width] - y[..., : self.width]
        return np.sqrt(np.square(wrong).mean(-1)), np.zeros(len(y))

    def at_finals(self, out: Array, y: Array) -> dict[str, Array]:
        """Score k-means (10 starts, fixed seed) on the code by the groups: `nmi` [S], normalized mutual information."""
        from sklearn.cluster import KMeans
        from sklearn.metrics import normalized_mutual_info_score

        known = y[:, self.width] >= 0
        if self.groups < 2 or known.sum() < self.groups or out.shape[-1] == self.width:
            return {}
        scores = []
        for each in out:
            code = each[known, self.width :]
            if not np.isfinite(code).all():
                scores.append(np.nan)
                continue
            labels = KMeans(self.groups, n_init=10, random_state=0).fit_predict(code)
            scores.append(float(normalized_mutual_info_score(y[known, self.width], labels)))
        return {"nmi": np.array(scores)}
