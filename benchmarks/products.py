"""The matrix products of a training step by themselves: what they count, and how fast this machine does them.

A layer [B, I] -> [B, O] takes three products of 2 B I O operations each: the outputs, the slopes of the weights, and
the slopes of the inputs, which the first layer does not need.

Legend: T trials, B batch, I inputs, O outputs of a layer.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from models import Case
from torch import nn

_MULTIPLE = 16


def layers(case: Case) -> list[tuple[int, int]] | None:
    """(I, O) of each layer; None where the model's parameters are not all of linear layers."""
    model = case.build()
    linear = [part for part in model.modules() if isinstance(part, nn.Linear)]
    if sum(p.numel() for part in linear for p in part.parameters()) != sum(p.numel() for p in model.parameters()):
        return None
    return [(part.in_features, part.out_features) for part in linear]


def useful(sizes: list[tuple[int, int]], batch: int) -> int:
    """Operations of the products of one trial-step: 6 B sum(I O) without the first layer's slopes of its inputs."""
    first, last = sizes[0]
    return 6 * batch * sum(i * o for i, o in sizes) - 2 * batch * first * last


def batched(case: Case, trials: int, padded: bool) -> Iterator[int]:
    """The products of T trial-steps by `torch.bmm` into memory made beforehand; gives their useful operations.

    Args:
        padded: widths of layers are filled up to multiples of 16. The pack does not do that; what is added is no use.
    """
    sizes, batch = layers(case), case.batch
    assert sizes is not None, "the model has layers that are not linear"
    done = trials * useful(sizes, batch)
    if padded:
        sizes = [(-(-i // _MULTIPLE) * _MULTIPLE, -(-o // _MULTIPLE) * _MULTIPLE) for i, o in sizes]
    jobs = []
    for index, (i, o) in enumerate(sizes):
        h, g, w = torch.randn(trials, batch, i), torch.randn(trials, batch, o), torch.randn(trials, o, i)
        jobs += [(h, w.mT, torch.empty(trials, batch, o)), (g.mT, h, torch.empty(trials, o, i))]
        if index:
            jobs.append((g, w, torch.empty(trials, batch, i)))
    while True:
        for a, b, out in jobs:
            torch.bmm(a, b, out=out)
        yield done
