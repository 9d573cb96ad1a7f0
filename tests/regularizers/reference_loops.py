"""Averages of weights and early stopping as stock torch spells them, for the reference's training loop."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import swa_utils

from tests.regularizers.numbers import Numbers
from tests.regularizers.reference_plain import Named, Plain


class Averaging(Plain):
    """Averages by `torch.optim.swa_utils`, which also recomputes the statistics of batch normalization."""

    def __init__(self, k: Mapping[str, float], draw: Numbers, start: Any) -> None:
        super().__init__(k, draw, start)
        self.average = swa_utils.AveragedModel(start.module, multi_avg_fn=None, avg_fn=self.moved)

    def moved(self, average: torch.Tensor, w: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def result(self) -> nn.Module:
        data, training = self.start.data, self.start.training
        swa_utils.update_bn(data.train_x.split(training.batch_size), self.average)
        return self.average.module

    def kept(self, model: nn.Module) -> None:
        model.load_state_dict(self.average.module.state_dict())


class EMA(Averaging):
    def __init__(self, k: Mapping[str, float], draw: Numbers, start: Any) -> None:
        super().__init__(k, draw, start)
        self.average.n_averaged.fill_(1)  # the initial weights are the average before the first step

    def moved(self, average: torch.Tensor, w: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
        decay = min(self.k["decay"], float(count) / (9 + float(count)))
        return decay * average + (1 - decay) * w

    def after_step(self, model: nn.Module) -> None:
        self.average.update_parameters(model)

    def measured(self, model: nn.Module) -> nn.Module:
        return self.result()


class SWA(Averaging):
    def moved(self, average: torch.Tensor, w: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
        return (average * count + w) / (count + 1)

    def after_epoch(self, model: nn.Module, epoch: int) -> None:
        if epoch / self.start.training.epochs > 1 - self.k["share"]:
            self.average.update_parameters(model)

    def measured(self, model: nn.Module) -> nn.Module:
        return self.result() if int(self.average.n_averaged) else model

    def kept(self, model: nn.Module) -> None:
        if int(self.average.n_averaged):
            super().kept(model)


class EarlyStopping(Plain):
    best, waited = math.inf, 0
    state: Named | None = None

    def stop(self, epoch: int, val_loss: float, model: nn.Module) -> bool:
        if val_loss < self.best - self.k["min_delta"]:
            self.best, self.waited = val_loss, 0
            self.state = {name: value.clone() for name, value in model.state_dict().items()}
        else:
            self.waited += 1
        return self.waited > self.k["patience"]

    def kept(self, model: nn.Module) -> None:
        if math.isfinite(self.k["patience"]) and self.state is not None:
            model.load_state_dict(self.state)
