"""What each site's effect does to small tensors when it is called by itself: pairs of result and identity.

Legend: B batch, F features, C classes, P parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from regsearch.regularizers import Parameter, Regularizer
from regsearch.regularizers.batches import Batch
from regsearch.regularizers.decay import Decay
from regsearch.regularizers.gradients import Gradient, TensorGradient
from regsearch.regularizers.loops import Average, Loop
from regsearch.regularizers.penalties import ElementwisePenalty, Penalty
from regsearch.regularizers.projections import Projection
from regsearch.regularizers.targets import Target

Pair = tuple[str, torch.Tensor, torch.Tensor]


class FixedNumbers:
    """A `Context` whose numbers come from one stock generator with a fixed seed."""

    depth = 0.5

    def __init__(self, seed: int = 0) -> None:
        self._draw = torch.Generator().manual_seed(seed)
        self.x = torch.randn(6, 5, generator=self._draw)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map x [B, F] to three outputs: two sums of cubes and a plain sum."""
        return torch.stack([x[:, :2].pow(3).sum(1), x[:, 2:].pow(3).sum(1), x.sum(1)], 1)

    def moments(self, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Measure mean and variance of each unit of h [B, F...], the units along axis 1."""
        over = tuple(axis for axis in range(h.dim()) if axis != 1)
        return h.mean(over, keepdim=True), h.var(over, unbiased=False, keepdim=True)

    def uniform(self, like: torch.Tensor) -> torch.Tensor:
        """Draw numbers in [0, 1) of the shape of `like`, multiples of 2^-24."""
        return torch.floor(torch.rand(like.shape, generator=self._draw) * 2**24) / 2**24

    def normal(self, like: torch.Tensor) -> torch.Tensor:
        """Draw standard normal numbers of the shape of `like`."""
        return torch.randn(like.shape, generator=self._draw)


def pairs(rule: Regularizer) -> Iterator[Pair]:
    """Compute what the effect gives and what the identity would give, for inputs of every rank the site meets."""
    yield from _SITES[rule.site](rule, FixedNumbers())


def _tensor(*shape: int) -> torch.Tensor:
    """Numbers of both signs; the first row is zero, where norms and quotients are at their worst."""
    made = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    made[0] = 0
    return made


def _batches(rule: Batch, ctx: FixedNumbers) -> Iterator[Pair]:
    y = torch.eye(3)[torch.arange(6) % 3]
    for shape in ((6, 5), (6, 4, 4), (6, 2, 5, 4)):
        x = _tensor(*shape)
        got_x, got_y = rule.batch(x, y, ctx)
        yield f"the batch {shape}", got_x, x
        yield "the targets", got_y, y


def _targets(rule: Target, ctx: FixedNumbers) -> Iterator[Pair]:
    y = torch.eye(3)[torch.arange(6) % 3]
    yield "the targets", rule.target(y, ctx), y


def _each(method: str, *shapes: tuple[int, ...]) -> Callable[[Regularizer, FixedNumbers], Iterator[Pair]]:
    def site(rule: Regularizer, ctx: FixedNumbers) -> Iterator[Pair]:
        for shape in shapes:
            h = _tensor(*shape)
            yield f"{method} of {shape}", getattr(rule, method)(h, ctx), h

    return site


def _penalties(rule: Penalty, ctx: FixedNumbers) -> Iterator[Pair]:
    tensors = {"weight": _tensor(4, 6), "kernel": _tensor(4, 2, 3, 3), "bias": _tensor(4)}

    def penalty(values: dict[str, torch.Tensor]) -> torch.Tensor:
        named = [Parameter(name, value, "bias" if name == "bias" else "weight") for name, value in values.items()]
        total: torch.Tensor = rule.penalty(named, ctx)
        return total

    slopes, total = torch.func.grad_and_value(penalty)(tensors)
    yield "the penalty", total, torch.zeros(())
    for name, slope in slopes.items():
        yield f"the penalty's slope at {name}", slope, torch.zeros_like(slope)
    if isinstance(rule, ElementwisePenalty):
        yield "the slope", rule.slope(_tensor(40)), torch.zeros(40)


def _gradients(rule: Gradient, ctx: FixedNumbers) -> Iterator[Pair]:
    if isinstance(rule, TensorGradient):
        for role, shape in (("weight", (4, 6)), ("weight", (4, 2, 3, 3)), ("bias", (4,)), ("norm", (4,))):
            for g in (_tensor(*shape), torch.zeros(shape), 1e6 * _tensor(*shape)):
                yield (
                    f"the gradient of a {role}",
                    rule.tensor_gradient(Parameter("w", g, role), _tensor(*shape), ctx),
                    g,
                )
        return
    for g in (_tensor(40), torch.zeros(40), 1e6 * _tensor(40)):
        yield "the gradient", rule.gradient(g, _tensor(40), ctx), g


def _decay(rule: Decay, ctx: FixedNumbers) -> Iterator[Pair]:
    yield "the decayed weights", rule.decay(_tensor(40), torch.tensor(0.1)), _tensor(40)


def _projections(rule: Projection, ctx: FixedNumbers) -> Iterator[Pair]:
    for shape in ((4, 6), (4, 2, 3, 3)):
        yield f"the projected weights {shape}", rule.project(_tensor(*shape), torch.tensor(0.1)), _tensor(*shape)


def _loops(rule: Loop, ctx: FixedNumbers) -> Iterator[Pair]:
    w = _tensor(40)
    state = rule.start(w)
    for epoch, loss in enumerate([1.0, 0.5, 0.7, 0.8, 0.9], 1):
        w = w + 1
        if isinstance(rule, Average):
            near_the_end = torch.tensor(0.95 + epoch / 100)
            state = rule.after_epoch(rule.after_step(state, w), w, near_the_end)
            yield "the weights measured", rule.averaged(state, w), w
        report = {"val_loss": torch.tensor(loss), "epoch": torch.tensor(float(epoch))}
        state, go_on = rule.observe(state, w, report)
        yield "going on", go_on, torch.tensor(True)
        yield "the weights kept", rule.weights(state, w), w
        yield "the epoch kept", rule.epoch(state, report["epoch"]), report["epoch"]


_SITES: dict[str, Callable[[Any, FixedNumbers], Iterator[Pair]]] = {
    "batches": _batches,
    "targets": _targets,
    "weights": _each("weight", (4, 6), (4, 2, 3, 3)),
    "norms": _each("normalize", (6, 5), (6, 3, 4, 4)),
    "activations": _each("activation", (6, 5), (6, 3, 4, 4)),
    "penalties": _penalties,
    "gradients": _gradients,
    "decay": _decay,
    "projections": _projections,
    "loops": _loops,
}
