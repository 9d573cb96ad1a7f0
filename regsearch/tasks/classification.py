"""Classification: cross-entropy; accuracy, balanced accuracy and area under the curve.

Legend: S seeds, N rows, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from regsearch.tasks.base import Array, Task, Tensors, task


@task
@dataclass(frozen=True)
class Classification(Task):
    """Cross-entropy in nats (the log loss); accuracy, and balanced accuracy: the mean over the classes present of the
    share right.

    Args:
        classes: C, at least two.
        auc: measure the area under the ROC curve too, one class against the rest, mean over the classes present. It
            costs a sort per class and epoch; None means where there are two classes.
    """

    name, metric = "classification", "balanced_accuracy"
    higher = frozenset(("accuracy", "balanced_accuracy", "auc"))
    loss_words = "cross-entropy (nats)"
    distributions = True
    classes: int
    auc: bool | None = None

    @property
    def metrics_names(self) -> tuple[str, ...]:
        """`accuracy`, `balanced_accuracy`, and `auc` where it is asked for."""
        wanted = self.classes == 2 if self.auc is None else self.auc
        return ("accuracy", "balanced_accuracy", "auc") if wanted else ("accuracy", "balanced_accuracy")

    def encode(self, y: torch.Tensor) -> torch.Tensor:
        """Encode codes [N] as one-hot rows [N, C]."""
        return (y.unsqueeze(-1) == torch.arange(self.classes, device=y.device)).to(torch.float32)

    def loss(self, out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Compute the cross-entropy -sum_c y_c log softmax(out)_c of each row, [N]."""
        return -(F.log_softmax(out, -1) * y).sum(-1)

    def metrics(self, out: torch.Tensor, y: torch.Tensor) -> Tensors:
        """Compute the share of rows right, the mean of that over the classes present, and the area under the curve."""
        right = (out.argmax(-1) == y).to(torch.float32)
        member = self.encode(y)
        count = member.sum(0)
        share = (member * right.unsqueeze(-1)).sum(0) / count.clamp(min=1)
        measures = {"accuracy": right.mean(), "balanced_accuracy": share.sum() / (count > 0).sum()}
        if "auc" in self.metrics_names:
            measures["auc"] = area_under_curve(F.log_softmax(out, -1), member)
        return measures

    def shape(self, rows: int) -> tuple[int | None, ...]:
        """Give the shape (N, C)."""
        return (rows, self.classes)

    def judged(self, out: Array, y: Array) -> tuple[Array, Array]:
        """Predict classes [S, N], those of the largest output, and true ones [N]."""
        return out.argmax(-1), y


def area_under_curve(scores: torch.Tensor, member: torch.Tensor) -> torch.Tensor:
    """Average the area under the ROC curve of each class against the rest; 0.5 where none can be formed.

    By ranks (Mann and Whitney 1947): (sum of the members' ranks - n1 (n1 + 1) / 2) / (n1 n0), equal scores sharing the
    mean of their ranks. A class that is absent, or alone, has no curve and does not count.

    Args:
        scores: [N, C], larger means more likely.
        member: [N, C], 1 where the row is of the class, else 0.
    """
    ordered, index = torch.sort(scores.t(), -1)
    here = torch.gather(member.t(), -1, index)
    rows = ordered.shape[-1]
    position = torch.arange(rows, device=scores.device)
    edge = torch.ones_like(here[:, :1])
    new = torch.cat([edge, (ordered[:, 1:] != ordered[:, :-1]).to(edge.dtype)], -1)
    last = torch.cat([new[:, 1:], edge], -1)
    # First and last position of the run of equal scores that each position lies in.
    first = torch.where(new > 0, position, 0).cummax(-1).values
    until = rows - 1 - torch.where(last > 0, rows - 1 - position, 0).flip(-1).cummax(-1).values.flip(-1)
    rank = (first + until) / 2 + 1
    ones = member.sum(0)
    pairs = ones * (rows - ones)
    area = ((rank * here).sum(-1) - ones * (ones + 1) / 2) / pairs.clamp(min=1)
    formed = (pairs > 0).to(area.dtype)
    return torch.where(formed.sum() > 0, (area * formed).sum() / formed.sum().clamp(min=1), 0.5)
