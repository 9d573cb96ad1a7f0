"""An autoencoder for clustering.

Legend: B batch, D values of a row, K values of the code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn


class Autoencoder(nn.Module):
    """Encoder and its mirror image; gives the reconstruction and the code side by side, [B, D + K]."""

    def __init__(self, width: int, hidden: Sequence[int], code: int, dropout: float) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.encoder = _layers([width, *hidden, code], dropout)
        self.decoder = _layers([code, *reversed(hidden), width], dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map x [B, F...] to its reconstruction and code, [B, D + K]."""
        code = self.encoder(self.flatten(x))
        return torch.cat([self.decoder(code), code], -1)


def _layers(widths: Sequence[int], dropout: float) -> nn.Sequential:
    """Linear layers of these widths, ReLU and dropout between them, none after the last."""
    parts: list[nn.Module] = []
    for before, after in pairwise(widths):
        parts += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*parts[:-2])


def autoencoder(
    inputs: tuple[int, ...], outputs: int, hidden: Sequence[int] = (64,), code: int = 8, dropout: float = 0.0
) -> nn.Module:
    """Build an autoencoder of rows of any shape, flattened; see `Autoencoder`. `outputs` is not used: it is D."""
    return Autoencoder(math.prod(inputs), hidden, code, dropout)
