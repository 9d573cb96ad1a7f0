"""What a rule may do at each point of the reference's loop: nothing. Legend: B batch, F features, C classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from tests.regularizers.numbers import Numbers

Named = dict[str, torch.Tensor]


class Plain:
    """No rule: what a rule does differently at one point of the loop, it overrides. `k` holds its knobs by field."""

    smoothing = 0.0
    decoupled = 0.0

    def __init__(self, k: Mapping[str, float], draw: Numbers, start: Any) -> None:
        self.k, self.draw, self.start = k, draw, start

    def batch(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, y

    def weight(self, w: torch.Tensor) -> torch.Tensor:
        return w

    def normalize(self, h: torch.Tensor, site: nn.Module) -> torch.Tensor:
        return h

    def hidden(self, h: torch.Tensor) -> torch.Tensor:
        return h

    def branch(self, h: torch.Tensor, depth: float) -> torch.Tensor:
        return h

    def penalty(self, weights: list[torch.Tensor]) -> torch.Tensor | float:
        return 0.0

    def slope_penalty(self, model: nn.Module, x: torch.Tensor) -> torch.Tensor | float:
        return 0.0

    def gradients(self, named: Named) -> None: ...

    def project(self, weights: list[torch.Tensor], learning_rate: float) -> None: ...

    def after_step(self, model: nn.Module) -> None: ...

    def after_epoch(self, model: nn.Module, epoch: int) -> None: ...

    def measured(self, model: nn.Module) -> nn.Module:
        return model

    def stop(self, epoch: int, val_loss: float, model: nn.Module) -> bool:
        return False

    def kept(self, model: nn.Module) -> None: ...
