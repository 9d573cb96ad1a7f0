"""The knobs of a pack's trials: one row each, a column per layer where layers have their own, and their schedules.

Legend: S steps, T slots, G layers.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from regsearch.core.layout import Tensors
from regsearch.core.program import Program
from regsearch.core.schedule import scheduled, strength_factor
from regsearch.space import STRENGTH_SCHEDULES, layer_name, schedule_name, warmup_name


class Knobs:
    """Hold the values of every knob of a program for T slots.

    `values` holds [T], or [T, G + 1] for a strength that each layer has its own of; the last column is off, for what
    belongs to no layer. A schedule is data beside them: a program with schedules is traced as one without.
    """

    def __init__(self, program: Program, slots: int) -> None:
        self._program = program
        self.values: Tensors = {}
        for name, knob in program.knobs.items():
            shape = (slots, len(program.layers[name]) + 1) if name in program.layers else (slots,)
            self.values[name] = torch.full(shape, float(knob.default))
        self._kinds = {name: torch.zeros(slots, dtype=torch.int64) for name in program.scheduled}
        self._warmup = {name: torch.zeros(slots, dtype=torch.float64) for name in program.scheduled}

    def load(self, slot: int, params: Mapping[str, float | str]) -> None:
        """Give a slot the knobs of a trial, by flat name; what is absent has its default."""
        for name, knob in self._program.knobs.items():
            value = params.get(name, knob.default)
            layers = self._program.layers.get(name)
            if layers is None:
                self.values[name][slot] = float(value)
            else:
                each = [float(params.get(layer_name(name, layer), value)) for layer in layers]
                self.values[name][slot] = torch.tensor([*each, float(knob.default)])
        for name, kinds in self._kinds.items():
            kinds[slot] = STRENGTH_SCHEDULES.index(str(params.get(schedule_name(name), "constant")))
            self._warmup[name][slot] = float(params.get(warmup_name(name), 0.0))

    def plan(self, share: torch.Tensor) -> list[Tensors]:
        """Plan the scheduled knobs' values for each step; share of the training done before it, [S, T] float64."""
        rows: Tensors = {}
        for name, kinds in self._kinds.items():
            value, off = self.values[name].double(), float(self._program.knobs[name].off or 0.0)
            factor = strength_factor(kinds, self._warmup[name], share)
            factor = factor.view(*factor.shape, *[1] * (value.dim() - 1)).expand(len(share), *value.shape)
            rows[name] = scheduled(value, off, factor).float()
        return [{name: row[step] for name, row in rows.items()} for step in range(len(share))]
