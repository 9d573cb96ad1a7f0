"""A small Transformer encoder for texts and series.

Legend: B batch, L positions, D width, H heads, F features, C outputs. Code 0 is padding: no position attends to it, and
it does not count in the mean.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from regsearch.errors import UserError
from regsearch.models.recurrent import masked_mean
from regsearch.models.site import Site

# Added to the scores of padding; finite, so that a row of padding alone stays finite.
_NEVER = -1e9


class EncoderBlock(nn.Module):
    """h + attention(norm(h)), then h + feed-forward(norm(h)), each with dropout before it is added.

    Normalization comes first (Xiong et al., 2020, https://arxiv.org/abs/2002.04745).
    """

    def __init__(self, width: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.projections = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.attention_dropout = nn.Dropout(dropout)
        self.inner_norm = nn.LayerNorm(width)
        self.attention_branch, self.inner_branch = Site("residual"), Site("residual")
        self.inner = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width), nn.Dropout(dropout))

    def forward(self, h: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Map h [B, L, D], and what is added to the scores of each key [B, 1, 1, L], to [B, L, D]."""
        batch, length, width = h.shape
        parts = self.projections(self.attention_norm(h)).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        mixed = self.attention_dropout(self.output(mixed.transpose(1, 2).reshape(batch, length, width)))
        h = h + self.attention_branch(mixed)
        out: torch.Tensor = h + self.inner_branch(self.inner(self.inner_norm(h)))
        return out


class Transformer(nn.Module):
    """Embedding (a linear layer for series) plus learned positions, encoder blocks, mean over positions, linear."""

    def __init__(
        self,
        inputs: tuple[int, ...],
        outputs: int,
        vocabulary: tuple[int, ...] | None,
        width: int,
        heads: int,
        layers: int,
        inner: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.single = vocabulary is None and len(inputs) == 1
        self.tokens = vocabulary is not None
        features = 1 if self.single else inputs[-1]
        self.embedding: nn.Module = (
            nn.Linear(features, width) if vocabulary is None else nn.Embedding(vocabulary[0], width, padding_idx=0)
        )
        self.position = nn.Parameter(0.02 * torch.randn(inputs[0], width))
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList([EncoderBlock(width, heads, inner, dropout) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map x [B, L, F], [B, L] or tokens [B, L] int64 to outputs [B, C]."""
        h = self.dropout(self.embedding(x.unsqueeze(-1) if self.single else x) + self.position)
        mask = ((x == 0).to(h.dtype) * _NEVER)[:, None, None, :] if self.tokens else None
        for block in self.blocks:
            h = block(h, mask)
        h = self.norm(h)
        out: torch.Tensor = self.head(masked_mean(h, x) if self.tokens else h.mean(1))
        return out


def transformer(
    inputs: tuple[int, ...],
    outputs: int,
    vocabulary: tuple[int, ...] | None = None,
    width: int = 32,
    heads: int = 4,
    layers: int = 2,
    inner: int = 64,
    dropout: float = 0.0,
) -> nn.Module:
    """Build a Transformer encoder of texts [B, L] int64 or series [B, L, F] or [B, L]; see `Transformer`.

    Raises:
        UserError: rows are neither, or `heads` does not divide `width`.
    """
    if len(inputs) not in ((1,) if vocabulary is not None else (1, 2)):
        allowed = "texts (data.text) or series [positions, features]"
        what = f"transformer does not fit rows of shape {inputs}"
        raise UserError(what, key="model.name", value="transformer", allowed=allowed)
    if width % heads:
        raise UserError("does not divide the width", key="model.heads", value=heads, allowed=f"a divisor of {width}")
    return Transformer(inputs, outputs, vocabulary, width, heads, layers, inner, dropout)
