"""A trained trial as a plain module for evaluation."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from regsearch.core.effects import Effects, moments_at_start
from regsearch.core.lifted_module import Lifted, Unchanged
from regsearch.core.program import Program
from regsearch.core.rules import TrialRules
from regsearch.regularizers.norms import Norm


def trained_module(
    program: Program, weights: Mapping[str, torch.Tensor], params: Mapping[str, float | str]
) -> nn.Module:
    """Build the module of one trained trial in evaluation mode, the normalization that it turned on included.

    Args:
        weights: its parameters and buffers by name.
        params: its active knobs by flat name.
    """
    module = Lifted(program.stock())
    own = dict(module.named_parameters()) | dict(module.named_buffers())
    with torch.no_grad():  # not by load_state_dict, which leaves out buffers that are not persistent
        for name in weights.keys() - moments_at_start(program.rules, program.model.layers).keys():
            own[name].copy_(weights[name])
    knobs = {name: float(params.get(name, knob.default)) for name, knob in program.knobs.items()}
    normalizes = any(rule.site == Norm.site for rule in program.rules)
    if normalizes:
        module.take_sites(program.model)
        module.effect = Effects(TrialRules(program.rules, knobs), weights)
    changing = program.model.changing
    if changing:
        return Unchanged(module, changing).eval()
    return module.eval() if normalizes else module.stock.eval()
