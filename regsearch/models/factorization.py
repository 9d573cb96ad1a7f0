"""Matrix factorization with biases, for ratings.

Legend: B batch, K factors.
"""

from __future__ import annotations

import torch
from torch import nn

from regsearch.errors import UserError

_SPREAD = 0.1


class MatrixFactorization(nn.Module):
    """mean + user bias + item bias + user factors · item factors, for pairs (user, item) [B, 2] int64.

    Code 0 stands for users and items that no training row has: their bias and factors are 0 and stay so.
    Koren et al., 2009, https://doi.org/10.1109/MC.2009.263, equation (4).
    """

    def __init__(self, users: int, items: int, factors: int, dropout: float) -> None:
        super().__init__()
        self.user = nn.Embedding(users, factors, padding_idx=0)
        self.item = nn.Embedding(items, factors, padding_idx=0)
        self.user_bias = nn.Embedding(users, 1, padding_idx=0)
        self.item_bias = nn.Embedding(items, 1, padding_idx=0)
        self.mean_bias = nn.Parameter(torch.zeros(1))
        self.dropout = nn.Dropout(dropout)
        for table, spread in ((self.user, _SPREAD), (self.item, _SPREAD), (self.user_bias, 0.0), (self.item_bias, 0.0)):
            nn.init.normal_(table.weight, std=spread)
            nn.init.zeros_(table.weight[0].detach())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Predict ratings [B, 1] of pairs x [B, 2] int64."""
        user, item = x[:, 0], x[:, 1]
        product = (self.dropout(self.user(user)) * self.item(item)).sum(-1, keepdim=True)
        out: torch.Tensor = self.mean_bias + self.user_bias(user) + self.item_bias(item) + product
        return out


def matrix_factorization(
    inputs: tuple[int, ...],
    outputs: int,
    vocabulary: tuple[int, ...] | None = None,
    factors: int = 16,
    dropout: float = 0.0,
) -> nn.Module:
    """Build a matrix factorization of pairs (user, item); see `MatrixFactorization`.

    Raises:
        UserError: rows are no pairs of codes, or more than one value is to be predicted.
    """
    if vocabulary is None or len(vocabulary) != 2 or tuple(inputs) != (2,) or outputs != 1:
        raise UserError(
            "rows are no pairs of user and item",
            key="model.name",
            value="matrix_factorization",
            allowed="say task: recommendation, data.user and data.item",
        )
    return MatrixFactorization(vocabulary[0], vocabulary[1], factors, dropout)
