"""Language modelling: the token that follows, at every position of a text.

Legend: S seeds, N rows, L positions, V tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from regsearch.tasks.base import Array, Task, Tensors, task

# Perplexity beyond this is overflow in float32.
_MOST_NATS = 80.0


@task
@dataclass(frozen=True)
class LanguageModelling(Task):
    """Cross-entropy of the next token in nats, mean over a row's positions; perplexity = exp(mean over rows).

    Stored targets are codes [N, L]; code 0 is padding and does not count. Training targets are one-hot [N, L, V], zeros
    at padding. (Label smoothing by more than a half would make padding count: windows of joined texts have none.)

    Args:
        tokens: V, the size of the vocabulary.
    """

    name, metric = "language_modelling", "perplexity"
    loss_words = "cross-entropy per token (nats)"
    distributions = True
    tokens: int

    @property
    def metrics_names(self) -> tuple[str, ...]:
        """`perplexity` alone."""
        return ("perplexity",)

    def encode(self, y: torch.Tensor) -> torch.Tensor:
        """Encode codes [N, L] as one-hot [N, L, V], zeros at padding."""
        code = y.unsqueeze(-1)
        return ((code == torch.arange(self.tokens, device=y.device)) & (code != 0)).to(torch.float32)

    def loss(self, out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Compute the cross-entropy of the next token, mean over a row's positions without padding, [N]."""
        known = (y.sum(-1) > 0.5).to(out.dtype)
        nats = -(F.log_softmax(out, -1) * y).sum(-1)
        return (nats * known).sum(-1) / known.sum(-1).clamp(min=1)

    def metrics(self, out: torch.Tensor, y: torch.Tensor) -> Tensors:
        """Compute the perplexity: exp(mean loss), at most exp(80)."""
        return {"perplexity": self.loss(out, self.encode(y)).mean().clamp(max=_MOST_NATS).exp()}

    def shape(self, rows: int) -> tuple[int | None, ...]:
        """Give the shape (N, any, V): texts may have any length."""
        return (rows, None, self.tokens)

    def judged(self, out: Array, y: Array) -> tuple[Array, Array]:
        """Compute the loss of each row; its truth is 0."""
        target = torch.from_numpy(np.asarray(y))
        losses = [self.loss(torch.from_numpy(each), self.encode(target)).numpy() for each in out]
        return np.stack(losses), np.zeros(len(y))
