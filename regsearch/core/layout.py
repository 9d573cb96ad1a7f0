"""Where each parameter of a model lies in a trial's flat row: what is trained in one, what is frozen in another.

Legend: T trials, P floats in a row. Tensors start at multiples of 16 floats (64 bytes: products of unaligned
matrices are not bitwise reproducible); the row ends at a multiple of 32, so that no vector loop has a scalar rest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import nn

from regsearch.regularizers.base import Parameter

Tensors: TypeAlias = dict[str, torch.Tensor]
"""Tensors by name."""
_START = 16
_END = 32


@dataclass(frozen=True)
class Entry:
    """Describe one parameter: its name, shape, role (`weight`, `bias` or `norm`) and its first float in the row."""

    name: str
    shape: tuple[int, ...]
    role: str
    start: int

    @property
    def size(self) -> int:
        """Count the floats of the parameter."""
        return math.prod(self.shape)

    @property
    def layer(self) -> str:
        """Name the path of the module that owns it, `model` where that is the model itself."""
        return self.name.removeprefix("stock.").rpartition(".")[0] or "model"


@dataclass(frozen=True)
class Layout:
    """Lay all parameters out in a row: penalized ones first, floats [0, penalized); the whole row is [0, width)."""

    entries: tuple[Entry, ...]
    penalized: int
    width: int

    @classmethod
    def of(cls, module: nn.Module, penalize_bias: bool, frozen: bool = False) -> Layout:
        """Lay out the parameters that are trained, or those that are not (`requires_grad` is false)."""
        roles = parameter_roles(module)
        named = {name: each for name, each in module.named_parameters() if each.requires_grad is not frozen}
        names = sorted(named, key=lambda name: roles[name] != "weight" and not penalize_bias)
        entries, start, penalized = [], 0, 0
        for name in names:
            entries.append(Entry(name, tuple(named[name].shape), roles[name], start))
            start += math.ceil(named[name].numel() / _START) * _START
            if roles[name] == "weight" or penalize_bias:
                penalized = start
        return cls(tuple(entries), penalized, math.ceil(max(start, 1) / _END) * _END)

    def layers(self, penalized: bool) -> tuple[str, ...]:
        """List the modules that own a weight (or whatever is penalized), in the order of the row."""
        chosen = (e for e in self.entries if (e.start < self.penalized if penalized else e.role == "weight"))
        return tuple(dict.fromkeys(e.layer for e in chosen))

    def spread(self, strengths: torch.Tensor, layers: tuple[str, ...]) -> torch.Tensor:
        """Spread one trial's strengths, one for each of `layers` and one for all else, to a row [P]."""
        columns = {layer: column for column, layer in enumerate(layers)}
        ends = [*(e.start for e in self.entries[1:]), self.width]
        sizes = [end - e.start for e, end in zip(self.entries, ends, strict=True)]
        each = (strengths[columns.get(e.layer, len(layers))] for e in self.entries)
        return torch.cat([strength.expand(size) for strength, size in zip(each, sizes, strict=True)])

    def views(self, row: torch.Tensor) -> Tensors:
        """View the parameters inside row [..., P] by name, without a copy."""
        lead = row.shape[:-1]
        return {e.name: row.narrow(-1, e.start, e.size).view(lead + e.shape) for e in self.entries}

    def row(self, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Join one trial's tensors by name to its row [P], zeros between."""
        parts = []
        end = 0
        for entry in self.entries:
            if entry.start > end:
                parts.append(tensors[entry.name].new_zeros(entry.start - end))
            parts.append(tensors[entry.name].reshape(-1))
            end = entry.start + entry.size
        if end < self.width:
            parts.append(parts[-1].new_zeros(self.width - end))
        return torch.cat(parts)

    def parameters(self, tensors: Mapping[str, torch.Tensor], penalized_only: bool = False) -> list[Parameter]:
        """List the tensors with their roles, in the order of the row."""
        chosen = [e for e in self.entries if not penalized_only or e.start < self.penalized]
        return [Parameter(e.name, tensors[e.name], e.role) for e in chosen]


def parameter_roles(module: nn.Module) -> dict[str, str]:
    """Name each parameter's role: `norm` in normalization layers, else `bias` by name or axes, else `weight`."""
    roles = {}
    for prefix, part in module.named_modules():
        normalizes = type(part).__name__.endswith("Norm") or "Norm" in type(part).__name__
        for name, tensor in part.named_parameters(recurse=False):
            full = f"{prefix}.{name}" if prefix else name
            bias = "bias" in name or tensor.dim() < 2
            roles[full] = "norm" if normalizes else "bias" if bias else "weight"
    return roles
