"""A marker that a user's model may hold: where regularizers of hidden activations act.

Legend: B batch, F features.
"""

from __future__ import annotations

import torch
from torch import nn


class Site(nn.Module):
    """The identity, and a place where rules act on what passes through it.

    Args:
        name: None for a place of all rules of the site `activations`; it counts in models without dropout. A name is a
            place of the rules that ask for this name: `Site("residual")` marks the branch of a residual block that
            stochastic depth may skip.
    """

    def __init__(self, name: str | None = None) -> None:
        super().__init__()
        self.name = name

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """Map h [B, F...] to itself."""
        return h
