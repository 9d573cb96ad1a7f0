"""The stock torch loop that peers train with: the digits MLP, one trial at a time, written to be fast.

Rows lie in memory and are indexed by a permutation (no DataLoader), AdamW is fused, each split is evaluated in one
pass per epoch. Nothing of regsearch, Optuna or MLflow is imported.

Legend: N rows, F features, C classes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

Setting = dict[str, float]
"""Active knobs by flat name, as regsearch writes them."""


class Rows:
    """Training and validation rows in memory: x [N, F], y [N]."""

    def __init__(self, folder: str | None) -> None:
        if folder:
            names = ("train_x", "train_y", "validation_x", "validation_y")
            parts = [np.load(Path(folder) / f"{name}.npy") for name in names]
        else:
            from sklearn.datasets import load_digits
            from sklearn.model_selection import train_test_split
            from sklearn.preprocessing import StandardScaler

            x, y = load_digits(return_X_y=True)
            train_x, validation_x, train_y, validation_y = train_test_split(
                x, y, train_size=0.8, random_state=0, stratify=y
            )
            scaler = StandardScaler().fit(train_x)
            parts = [scaler.transform(train_x), train_y, scaler.transform(validation_x), validation_y]
        self.train_x, self.validation_x = (
            torch.tensor(np.array(parts[i]), dtype=torch.float32).flatten(1) for i in (0, 2)
        )
        self.train_y, self.validation_y = (torch.tensor(np.array(parts[i]), dtype=torch.int64) for i in (1, 3))
        self.classes = int(max(self.train_y.max(), self.validation_y.max())) + 1


def build(inputs: int, classes: int, hidden: list[int], dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in zip([inputs, *hidden], hidden, strict=False):
        layers += [nn.Linear(before, after), nn.ReLU()]
        if dropout:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(hidden[-1], classes))


def penalty(weights: list[torch.Tensor], setting: Setting) -> torch.Tensor | None:
    """The penalty on the weights that the setting asks for, or None."""
    l1, l2 = setting.get("l1.strength", 0.0), setting.get("l2.strength", 0.0)
    strength, ratio = setting.get("elastic_net.strength", 0.0), setting.get("elastic_net.l1_ratio", 0.5)
    l1, l2 = l1 + strength * ratio, l2 + strength * (1 - ratio)
    terms = []
    if l1:
        terms.append(l1 * torch.stack([w.abs().sum() for w in weights]).sum())
    if l2:
        terms.append(l2 / 2 * torch.stack([w.square().sum() for w in weights]).sum())
    return torch.stack(terms).sum() if terms else None


def optimizer_of(model: nn.Module, setting: Setting, learning_rate: float) -> torch.optim.Optimizer:
    """Fused AdamW; weight decay spares the biases, as penalties do."""
    weights = [p for p in model.parameters() if p.ndim > 1]
    biases = [p for p in model.parameters() if p.ndim <= 1]
    decay = setting.get("weight_decay.strength", 0.0)
    groups = [{"params": weights, "weight_decay": decay}, {"params": biases, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate, fused=True)


def train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    rows: Rows,
    setting: Setting,
    batch: int,
) -> None:
    model.train()
    smoothing, noise = setting.get("label_smoothing.epsilon", 0.0), setting.get("input_noise.sigma", 0.0)
    longest = setting.get("clip_by_norm.max_norm")
    parameters = list(model.parameters())
    weights = [p for p in parameters if p.ndim > 1]
    for index in torch.randperm(len(rows.train_y)).split(batch):
        x, y = rows.train_x[index], rows.train_y[index]
        if noise:
            x = x + noise * torch.randn_like(x)
        loss = F.cross_entropy(model(x), y, label_smoothing=smoothing)
        extra = penalty(weights, setting)
        if extra is not None:
            loss = loss + extra
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if longest is not None:
            nn.utils.clip_grad_norm_(parameters, longest)
        optimizer.step()


@torch.no_grad()
def evaluate(model: nn.Module, rows: Rows) -> dict[str, float]:
    """Data loss and accuracy of both splits in evaluation mode, and their gaps."""
    model.eval()
    metrics = {}
    for name, x, y in (("train", rows.train_x, rows.train_y), ("val", rows.validation_x, rows.validation_y)):
        out = model(x)
        metrics[f"{name}_loss"] = F.cross_entropy(out, y).item()
        metrics[f"{name}_accuracy"] = (out.argmax(-1) == y).float().mean().item()
    metrics["gap"] = metrics["val_loss"] - metrics["train_loss"]
    metrics["gap_accuracy"] = metrics["train_accuracy"] - metrics["val_accuracy"]
    return metrics
