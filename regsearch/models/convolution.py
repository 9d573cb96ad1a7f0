"""Convolutional models: a small ConvNet and a ResNet for images, a 1-D ConvNet for series.

Legend: B batch, K channels, H height, W width, L positions of a series, F features at each, C outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from regsearch.errors import UserError
from regsearch.models.site import Site


class ConvNet(nn.Module):
    """Convolutions 3 × 3 with ReLU, each followed by max pooling 2 × 2 while the picture is larger than one; then a
    linear layer.

    Pooling stands before ReLU: the result is the same, for a quarter of the work.
    """

    def __init__(self, inputs: tuple[int, ...], outputs: int, channels: Sequence[int], norm: str, dropout: float):
        super().__init__()
        height, width = inputs[1:]
        layers: list[nn.Module] = []
        for before, after in pairwise([inputs[0], *channels]):
            layers.append(nn.Conv2d(before, after, 3, padding=1))
            if norm == "batch":
                layers.append(nn.BatchNorm2d(after))
            if min(height, width) > 1:
                layers.append(nn.MaxPool2d(2))
                height, width = height // 2, width // 2
            layers.append(nn.ReLU())
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels[-1] * height * width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map x [B, K, H, W] to outputs [B, C]."""
        out: torch.Tensor = self.head(self.dropout(self.features(x).flatten(1)))
        return out


def convnet(
    inputs: tuple[int, ...], outputs: int, channels: Sequence[int] = (16, 32), norm: str = "none", dropout: float = 0.0
) -> nn.Module:
    """Build a small ConvNet for images [B, K, H, W]; see `ConvNet`.

    Raises:
        UserError: rows are no images, or `channels` is empty.
    """
    _needs(inputs, 3, "convnet", "images: say data.shape: [channels, height, width]")
    if not channels:
        raise UserError("no channels", key="model.channels", value=[], allowed="a list like [16, 32] is needed")
    return ConvNet(inputs, outputs, channels, norm, dropout)


class ResidualBlock(nn.Module):
    """ReLU(shortcut(h) + BN(conv(dropout(ReLU(BN(conv(h))))))); the shortcut is a 1 × 1 convolution where shapes
    change.

    He et al., 2016, https://arxiv.org/abs/1512.03385; dropout between the convolutions: Zagoruyko and Komodakis, 2016,
    https://arxiv.org/abs/1605.07146.
    """

    def __init__(self, before: int, after: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(after)
        self.dropout = nn.Dropout(dropout)
        self.second = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(after)
        self.branch = Site("residual")
        same = stride == 1 and before == after
        self.shortcut = nn.Identity() if same else nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """Map h [B, K, H, W] to [B, K', H / stride, W / stride]."""
        inner = self.dropout(F.relu(self.first_norm(self.first(h))))
        return F.relu(self.shortcut(h) + self.branch(self.second_norm(self.second(inner))))


class ResNet(nn.Module):
    """A first convolution, three stages of residual blocks of `width`, 2 and 4 times `width`, mean over the picture,
    linear."""

    def __init__(self, inputs: tuple[int, ...], outputs: int, width: int, blocks: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs[0], width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        before, layers = width, []
        for stage in range(3):
            for block in range(blocks):
                stride = 2 if stage and not block else 1
                layers.append(ResidualBlock(before, width * 2**stage, stride, dropout))
                before = width * 2**stage
        self.blocks = nn.Sequential(*layers)
        self.head = nn.Linear(before, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map x [B, K, H, W] to outputs [B, C]."""
        h = self.blocks(F.relu(self.norm(self.first(x))))
        out: torch.Tensor = self.head(h.mean((2, 3)))
        return out


def resnet(inputs: tuple[int, ...], outputs: int, width: int = 16, blocks: int = 1, dropout: float = 0.0) -> nn.Module:
    """Build a ResNet of 3 stages for images [B, K, H, W]: `width` channels in the first, `blocks` blocks in each.

    Raises:
        UserError: rows are no images.
    """
    _needs(inputs, 3, "resnet", "images: say data.shape: [channels, height, width]")
    return ResNet(inputs, outputs, width, blocks, dropout)


class SeriesConvNet(nn.Module):
    """Convolutions over time with ReLU, mean over time (or all positions), linear. Takes [B, L, F] or [B, L]."""

    def __init__(
        self,
        inputs: tuple[int, ...],
        outputs: int,
        channels: Sequence[int],
        kernel: int,
        norm: str,
        pool: str,
        dropout: float,
    ) -> None:
        super().__init__()
        self.single, self.pool = len(inputs) == 1, pool
        layers: list[nn.Module] = []
        for before, after in pairwise([1 if self.single else inputs[1], *channels]):
            layers.append(nn.Conv1d(before, after, kernel, padding=kernel // 2))
            if norm == "batch":
                layers.append(nn.BatchNorm1d(after))
            layers.append(nn.ReLU())
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels[-1] * (1 if pool == "mean" else inputs[0]), outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map x [B, L, F] or [B, L] to outputs [B, C]."""
        h = self.features(x.unsqueeze(1) if self.single else x.transpose(1, 2))
        h = h.mean(-1) if self.pool == "mean" else h.flatten(1)
        out: torch.Tensor = self.head(self.dropout(h))
        return out


def conv1d(
    inputs: tuple[int, ...],
    outputs: int,
    channels: Sequence[int] = (32, 32),
    kernel: int = 3,
    norm: str = "none",
    pool: str = "mean",
    dropout: float = 0.0,
) -> nn.Module:
    """Build a ConvNet for series [B, L, F] or [B, L]; see `SeriesConvNet`.

    Raises:
        UserError: rows are no series, `channels` is empty, or `kernel` is even.
    """
    if len(inputs) not in (1, 2):
        _needs(inputs, 2, "conv1d", "series: a window, or say data.shape: [positions, features]")
    if not channels or kernel % 2 == 0:
        key, value = ("model.kernel", kernel) if channels else ("model.channels", [])
        raise UserError("cannot be used", key=key, value=value, allowed="some channels and an odd kernel are needed")
    return SeriesConvNet(inputs, outputs, channels, kernel, norm, pool, dropout)


def _needs(inputs: tuple[int, ...], axes: int, name: str, what: str) -> None:
    if len(inputs) != axes:
        raise UserError(f"{name} does not fit rows of shape {inputs}", key="model.name", value=name, allowed=what)
