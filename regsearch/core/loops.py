"""The rules of site `loops` in a pack: they average weights, end trainings and choose the weights that are kept.

Legend: T slots, P floats of a row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.func import vmap

from regsearch.core.layout import Tensors
from regsearch.regularizers.loops import Average, Loop


class Loops:
    """Hold the state of each loop of a program for T slots, and call its hooks at the knobs of every slot.

    Args:
        rules: the classes of the site.
        knobs: the values of every knob, [T] each; read at each call.
        w, buffers: weights [T, P] and buffers [T, ...] to start from.
    """

    def __init__(self, rules: tuple[type[Loop], ...], knobs: Tensors, w: torch.Tensor, buffers: Tensors) -> None:
        self._rules, self._knobs = rules, knobs
        self._states = [_start(rule, w, buffers) for rule in rules]

    def start(self, slot: int, w: torch.Tensor, buffers: Tensors) -> None:
        """Start a slot anew from its weights in w [T, P] and its buffers."""
        for rule, state in zip(self._rules, self._states, strict=True):
            for name, value in _start(rule, w, buffers).items():
                state[name][slot] = value[slot]

    def tensors(self) -> list[torch.Tensor]:
        """List all of the state, [T, ...] each."""
        return [value for state in self._states for value in state.values()]

    def after_step(self, w: torch.Tensor) -> None:
        """Update averages with the weights w [T, P] after a step."""
        self._average(Average.after_step, w)

    def after_epoch(self, w: torch.Tensor, done: torch.Tensor) -> None:
        """Update averages with the weights w [T, P] after an epoch, when shares `done` [T] of the training are over."""
        self._average(Average.after_epoch, w, done)

    def averaged(self, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Average the weights: those to measure in place of w [T, P], and which slots average at all, [T] bool."""
        on = torch.zeros(len(w), dtype=torch.bool)
        for rule, state in zip(self._rules, self._states, strict=True):
            if issubclass(rule, Average):
                w = self._in_each_slot(rule, rule.averaged, state, w)
                on |= self._knobs[rule.strength_knob.name] != rule.strength_knob.off
        return w, on

    def observe(self, val_loss: torch.Tensor, epochs: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Observe an epoch of every slot, and decide which trainings go on, [T] bool.

        Args:
            val_loss, epochs: [T] each.
            rows: the weights and buffers that were measured, [T, ...].
        """
        go_on = torch.ones(len(rows), dtype=torch.bool)
        report = {"val_loss": val_loss, "epoch": epochs}
        for index, rule in enumerate(self._rules):
            state = self._states[index]
            self._states[index], goes = self._in_each_slot(rule, rule.observe, state, rows, report)
            go_on &= goes
        return go_on

    def choose(self, slot: int, row: torch.Tensor, epoch: int) -> tuple[torch.Tensor, int | None]:
        """Choose the weights and buffers that a slot keeps: a row like `row`, and its epoch where not the last.

        Args:
            row: what was measured last.
            epoch: the last.
        """
        restored = None
        for rule, state in zip(self._rules, self._states, strict=True):
            loop = rule.at({name: value[slot] for name, value in self._knobs.items()})
            own = {name: value[slot] for name, value in state.items()}
            row = loop.weights(own, row)
            chosen = int(loop.epoch(own, torch.tensor(float(epoch))))
            restored = chosen if chosen != epoch else restored
        return row, restored

    def _average(self, hook: Callable[..., Tensors], *given: torch.Tensor) -> None:
        """Call those that have this hook of `Average`."""
        for index, rule in enumerate(self._rules):
            own = getattr(rule, hook.__name__, hook)
            if own is not hook:
                self._states[index] = self._in_each_slot(rule, own, self._states[index], *given)

    def _in_each_slot(self, rule: type[Loop], method: Callable[..., object], *given: Tensors | torch.Tensor) -> Any:
        """A rule's method at the knobs of each slot, lifted over what it is given [T, ...]."""

        def one(knobs: Tensors, *own: Tensors | torch.Tensor) -> object:
            return method(rule.at(dict(knobs)), *own)

        return vmap(one)(self._knobs, *given)


def with_buffers(w: torch.Tensor, buffers: Tensors) -> torch.Tensor:
    """Join weights and buffers of all slots, [T, P + buffer floats]; a whole number is exact up to 2^24."""
    return torch.cat([w, *(value.reshape(len(w), -1) for value in buffers.values())], 1)


def _start(rule: type[Loop], w: torch.Tensor, buffers: Tensors) -> Tensors:
    """The rule's state in every slot before the first epoch; averages are of the weights alone."""
    rows = w if issubclass(rule, Average) else with_buffers(w, buffers)
    state: Tensors = vmap(lambda row: rule().start(row))(rows)
    return {name: value.clone() for name, value in state.items()}
