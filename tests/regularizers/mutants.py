"""Deliberately broken copies of rules: some made for any rule, some by hand for one.

A mutant is a subclass with the rule's own declaration, outside the registry, whose effect is wrong.
Legend: T trials.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import torch

from regsearch.regularizers import Regularizer
from regsearch.testing import Rule

METHODS = {
    "batches": ("batch",),
    "targets": ("target",),
    "weights": ("weight",),
    "norms": ("normalize",),
    "activations": ("activation",),
    "penalties": ("penalty", "slope"),
    "gradients": ("gradient", "tensor_gradient"),
    "decay": ("decay",),
    "projections": ("project",),
    "loops": ("start", "after_step", "after_epoch", "averaged", "observe", "weights", "epoch"),
}
Change = Callable[[Any, Rule], Any]


def mutant(rule: Rule, name: str, **methods: Callable[..., Any]) -> Rule:
    """A copy of the rule under a name of its own with these methods instead."""
    return type(f"{rule.__name__}_{name}", (rule,), {**methods, "__module__": __name__, "__doc__": rule.__doc__})


def with_strength(rule: Rule, name: str, change: Change) -> Rule:
    """A copy whose effects are those of the rule at another strength."""
    short = rule.strength_knob.name.split(".")[1]

    def at(self: Any) -> Regularizer:
        knobs = {each.name: getattr(self, each.name) for each in fields(self)}
        return rule(**knobs | {short: change(torch.as_tensor(knobs[short]), rule)})

    def effect(method: str) -> Callable[..., Any]:
        return lambda self, *args: getattr(at(self), method)(*args)

    return mutant(rule, name, **{each: effect(each) for each in METHODS[rule.site] if hasattr(rule, each)})


def with_numbers(rule: Rule, name: str, numbers: Callable[[Any], Any]) -> Rule | None:
    """A copy that draws its numbers from elsewhere; None for a rule that draws none."""
    method = METHODS[rule.site][0]
    source = inspect.getsource(getattr(rule, method))
    if source.count("ctx") - source.count("ctx.moments") <= 1:  # an argument at most
        return None
    own = getattr(rule, method)
    return mutant(rule, name, **{method: lambda self, *args: own(self, *args[:-1], numbers(args[-1]))})


class _AcrossTrials(torch.autograd.Function):
    """What no effect can do by itself: under vmap it sees the whole pack, x [T] and not a trial's scalar."""

    @staticmethod
    def forward(x: torch.Tensor, how: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None: ...

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        return grads[0], None

    @staticmethod
    def vmap(info: Any, in_dims: Any, x: torch.Tensor, how: Callable[[torch.Tensor], torch.Tensor]) -> Any:
        return (x.clone(), None) if in_dims[0] is None else (how(x), in_dims[0])


class _Context:
    """Whatever a context lends, but for the numbers."""

    def __init__(self, ctx: Any) -> None:
        self._ctx = ctx

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)


class _SameNumbers(_Context):
    """Numbers that are drawn once, when the step is traced: no key, hence alike in every trial and step."""

    def uniform(self, like: torch.Tensor) -> torch.Tensor:
        return torch.tensor(np.random.default_rng(0).random(like.shape), dtype=torch.float32)

    def normal(self, like: torch.Tensor) -> torch.Tensor:
        return torch.tensor(np.random.default_rng(0).normal(size=like.shape), dtype=torch.float32)


class _GlobalNumbers(_Context):
    """Torch's own generator, which no trial owns."""

    def uniform(self, like: torch.Tensor) -> torch.Tensor:
        return torch.rand(like.shape)

    def normal(self, like: torch.Tensor) -> torch.Tensor:
        return torch.randn(like.shape)


def _on(strength: torch.Tensor, rule: Rule) -> torch.Tensor:
    knob = rule.strength_knob
    return torch.where(strength == knob.off, knob.high if knob.low == knob.off else knob.low, strength)


_calls = itertools.count(2)

STRENGTHS: dict[str, Change] = {
    "doubled": lambda s, rule: 2 * s,
    "sign_flipped": lambda s, rule: -s,
    "ignored": lambda s, rule: torch.full_like(s, rule.strength_knob.off),
    "never_off": _on,
    "by_slot": lambda s, rule: _AcrossTrials.apply(s, lambda x: x * torch.arange(1, 1 + len(x))),
    "leaks_nan": lambda s, rule: _AcrossTrials.apply(s, lambda x: torch.where(x.isnan().any(), torch.nan, x)),
}
NUMBERS: dict[str, Callable[[Any], Any]] = {"same_noise": _SameNumbers, "global_noise": _GlobalNumbers}
MORE_STRENGTHS: dict[str, Change] = {
    "baked_in": lambda s, rule: torch.full_like(s, rule.strength_knob.high),
    "counts_calls": lambda s, rule: s / next(_calls),
    "by_width": lambda s, rule: _AcrossTrials.apply(s, lambda x: x / len(x)),
}
"""Caught in the same way as one of `STRENGTHS` for every rule, hence tried on some."""


def generated(rule: Rule) -> list[Rule]:
    """The mutants that any rule has, those of the numbers if it draws some."""
    drawn = [with_numbers(rule, name, numbers) for name, numbers in NUMBERS.items()]
    made = [with_strength(rule, name, change) for name, change in STRENGTHS.items()]
    return made + [each for each in drawn if each is not None]
