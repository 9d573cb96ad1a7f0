"""What a training step takes, by name, and what it makes anew: trees of tensors for torch.

Legend: T trials, B batch, F features, P floats of a row, K scales of the optimizer. With the axis T these are of a
pack, without it of one trial.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.utils._pytree import register_pytree_node

from regsearch.core.layout import Tensors


class StepPlan(NamedTuple):
    """Hold what one step of a pack takes beside its batch.

    Args:
        key: the trials' keys at this step, [T, 2] int32.
        scale: the optimizer's numbers, [T, K].
        learning_rate: [T].
        strengths: the knobs that follow a schedule, [T, ...] by flat name.
    """

    key: torch.Tensor
    scale: torch.Tensor
    learning_rate: torch.Tensor
    strengths: Tensors


class Trained(NamedTuple):
    """Hold what a step changes: weights w [T, P], the optimizer's state and the sums for diagnostics, and buffers."""

    w: torch.Tensor
    state: Tensors
    buffers: Tensors


@dataclass(frozen=True, eq=False, slots=True)
class StepInputs:
    """Hold all that one training step reads.

    Args:
        w: the flat rows of weights, [T, P].
        state: rows [T, P] of the optimizer by name, and what the steps of an epoch add up, [T].
        buffers: each trial's own buffers by name, [T, ...].
        x, y: the batch: rows [T, B, F...] and stored targets [T, B, ...].
        knobs: the value of every knob by flat name, [T], or a column for each layer.
        key, scale, learning_rate: see `StepPlan`.
    """

    w: torch.Tensor
    state: Tensors
    buffers: Tensors
    x: torch.Tensor
    y: torch.Tensor
    knobs: Tensors
    key: torch.Tensor
    scale: torch.Tensor
    learning_rate: torch.Tensor

    @property
    def trained(self) -> Trained:
        """Pick what the step changes."""
        return Trained(self.w, self.state, self.buffers)

    @property
    def batch_shape(self) -> torch.Size:
        """Tell the shape of each trial's rows x, [B, F...]: steps of another shape are other graphs."""
        return self.x.shape[1:]


def _flatten(inputs: StepInputs) -> tuple[list[torch.Tensor | Tensors], None]:
    trained = inputs.w, inputs.state, inputs.buffers
    return [*trained, inputs.x, inputs.y, inputs.knobs, inputs.key, inputs.scale, inputs.learning_rate], None


def _unflatten(parts: Iterable[Any], _: None) -> StepInputs:
    return StepInputs(*parts)


register_pytree_node(StepInputs, _flatten, _unflatten, serialized_type_name="regsearch.core.step_inputs.StepInputs")
