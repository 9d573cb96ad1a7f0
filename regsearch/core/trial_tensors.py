"""The tensors of one trial: by name as in its module, or as a row of weights and buffers of its own as in a pack.

Legend: P floats of a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from regsearch.core.effects import moments_at_start
from regsearch.core.layout import Layout, Tensors
from regsearch.core.lifted_module import FROZEN, Lifted
from regsearch.core.rules import RuleClasses
from regsearch.trial import derive_seed


class TrialTensors:
    """Make and convert the tensors of a trial.

    Args:
        build: returns the stock module with freshly drawn weights.
        model: the lifted module, which says which buffers a forward pass changes.
        layout: where the parameters that are trained lie in a row.
        rules: of the program.
    """

    def __init__(self, build: Callable[[], nn.Module], model: Lifted, layout: Layout, rules: RuleClasses) -> None:
        self._build, self._model, self._layout, self._rules = build, model, layout, rules

    @property
    def buffers(self) -> tuple[str, ...]:
        """Name the buffers that each trial has of its own: all of floats, and others that the forward pass changes."""
        own = self._model.changing
        return tuple(name for name, value in self._model.named_buffers() if value.is_floating_point() or name in own)

    def fresh(self, seed: int) -> tuple[torch.Tensor, Tensors]:
        """Draw the initial weights [P] and buffers of the trial with this seed: the module's own initialisation."""
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):  # the same numbers on every device
            torch.manual_seed(derive_seed(seed, "init"))
            model = Lifted(self._build())
        model.to(torch.get_default_device())
        buffers = dict(model.named_buffers())
        own = {name: buffers[name].clone() for name in self.buffers} | moments_at_start(self._rules, self._model.layers)
        return self.to_row({name: value.detach() for name, value in model.named_parameters()} | own)

    def to_row(self, named: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, Tensors]:
        """Convert tensors by name to a row [P] and buffers, of which one holds what is frozen."""
        frozen = self._model.frozen
        parameters = {entry.name for entry in (*self._layout.entries, *frozen.entries)}
        own = {name: value for name, value in named.items() if name not in parameters}
        if frozen.entries:
            own[FROZEN] = frozen.row(named)
        return self._layout.row(named), own

    def by_name(self, w: torch.Tensor, buffers: Mapping[str, torch.Tensor]) -> Tensors:
        """Convert a row w [P] and buffers to tensors by name, without a copy."""
        own = dict(buffers)
        frozen = self._model.frozen.views(own.pop(FROZEN)) if FROZEN in own else {}
        return self._layout.views(w) | frozen | own
