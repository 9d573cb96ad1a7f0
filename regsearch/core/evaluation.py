"""Trials of a pack in evaluation mode: outputs, losses and metrics, and the statistics of batch normalization.

Legend: T trials, N rows, C outputs, F features, P floats of a row.
"""

from __future__ import annotations

from typing import Any

import torch

from regsearch.core.effects import Effects, has_moments
from regsearch.core.forward import forward
from regsearch.core.layout import Layout, Tensors
from regsearch.core.lifted_module import Lifted
from regsearch.core.pack_function import PackFunction
from regsearch.core.rules import RuleClasses, TrialRules
from regsearch.core.unpackable import run_packed
from regsearch.regularizers.norms import Norm
from regsearch.tasks import Task

# Rows that are evaluated at once, at most: activations should stay in the cache.
_CHUNK = 256


def best_chunk(*rows: int) -> int:
    """Choose how many rows to evaluate at once, so that sets of these sizes fill the fewest whole chunks."""
    if max(rows) <= _CHUNK:
        return max(rows)
    sizes = range(_CHUNK // 2, _CHUNK + 1, 16)
    return min(sizes, key=lambda size: (sum(-(-count // size) * size for count in rows), -size))


class Evaluation:
    """Evaluate the trials of packs.

    Args:
        model, layout: the lifted module, and where its parameters lie.
        rules: of the program; those of site `norms` act in evaluation too.
        task: what is measured.
        batch_size: of training, for the statistics of batch normalization.
    """

    def __init__(self, model: Lifted, layout: Layout, rules: RuleClasses, task: Task, batch_size: int) -> None:
        self.model, self.layout, self.rules, self.task, self.batch_size = model, layout, rules, task, batch_size
        self._norm_knobs = [knob.name for rule in rules if rule.site == Norm.site for knob in rule.knobs]
        self._outputs = PackFunction(self.forward, shape=lambda w, buffers, x, knobs: x.shape[1:])
        self._statistics = PackFunction(self.batch_statistics, shape=lambda w, buffers, x, knobs: x.shape[1:])
        self._metrics = PackFunction(self.metrics, shape=lambda out, y: y.shape[1:])

    @property
    def functions(self) -> tuple[PackFunction[*tuple[Any, ...], Any], ...]:
        """List what is traced."""
        return self._outputs, self._metrics, self._statistics

    def measure(
        self,
        w: torch.Tensor,
        buffers: Tensors,
        x: torch.Tensor,
        y: torch.Tensor,
        knobs: Tensors,
        chunk: int | None = None,
    ) -> Tensors:
        """Measure w [T, P] on rows x [N, F...], y [N...]: `loss` and the task's metrics, [T] each."""
        out = self.outputs(w, buffers, x, knobs, chunk)
        return run_packed(self._metrics, out, y.expand(len(out), *y.shape))

    def outputs(
        self, w: torch.Tensor, buffers: Tensors, x: torch.Tensor, knobs: Tensors, chunk: int | None = None
    ) -> torch.Tensor:
        """Compute the outputs [T, N, C...] of w [T, P] under knobs [T] on x [N, F...], by `chunk` rows."""
        chunk = chunk or best_chunk(len(x))
        missing = -len(x) % chunk
        padded = torch.cat([x, x.new_zeros(missing, *x.shape[1:])]) if missing else x
        chunks = torch.split(padded, chunk)
        parts = [run_packed(self._outputs, *self.inputs(w, buffers, rows, knobs)) for rows in chunks]
        return torch.cat(parts, 1)[:, : len(x)] if len(parts) > 1 or missing else parts[0]

    def statistics(self, w: torch.Tensor, buffers: Tensors, x: torch.Tensor, knobs: Tensors) -> Tensors:
        """Measure the statistics of batch normalization under w [T, P]: means over the batches of x [N, F...].

        Without noise; by the buffer's name, [T, ...]; empty for a model without. See `torch.optim.swa_utils.update_bn`.
        """
        if not self.model.normalizes_batches and not has_moments(self.rules):
            return {}
        batches = torch.split(x, self.batch_size)
        seen = [run_packed(self._statistics, *self.inputs(w, buffers, rows, knobs)) for rows in batches]
        return {name: torch.stack([moments[name] for moments in seen]).mean(0) for name in seen[0]}

    def inputs(
        self, w: torch.Tensor, buffers: Tensors, rows: torch.Tensor, knobs: Tensors
    ) -> tuple[torch.Tensor, Tensors, torch.Tensor, Tensors]:
        """Give what `forward` takes, with the axis T: rows [N, F...] that all trials share, and the knobs of norms."""
        norms = {name: knobs[name] for name in self._norm_knobs}
        # Every trial gets its own product: one wide product over shared rows is not bitwise the same.
        return w, buffers, rows.expand(len(w), *rows.shape), norms

    def try_outputs(
        self, w: torch.Tensor, buffers: Tensors, rows: torch.Tensor, knobs: Tensors, traced: bool = True
    ) -> None:
        """Compute the outputs on rows [N, F...] at once, by a graph if `traced`; what the model trips over is raised as
        it is.
        """
        run = self._outputs if traced else self._outputs.try_lifted
        run(*self.inputs(w, buffers, rows, knobs))

    def compile_outputs(self, w: torch.Tensor, buffers: Tensors, rows: torch.Tensor, knobs: Tensors) -> None:
        """Compile `outputs` for chunks of the shape of `rows` [N, F...]."""
        self._outputs.compile(*self.inputs(w, buffers, rows, knobs))

    def run_one_at_a_time(self, eager: bool) -> None:
        """Evaluate one trial after the other from now on; without graphs of the model if `eager`."""
        self._outputs.one_at_a_time(eager)
        self._statistics.one_at_a_time(eager)
        self._metrics.one_at_a_time()

    def forward(self, w: torch.Tensor, buffers: Tensors, x: torch.Tensor, knobs: Tensors) -> torch.Tensor:
        """Run the model of one trial in evaluation mode: x [N, F...] to outputs [N, C...]."""
        self.model.eval()
        effects = Effects(TrialRules(self.rules, knobs), buffers)
        return forward(self.model, self.layout.views(w), buffers, x, effects)[0]

    def batch_statistics(self, w: torch.Tensor, buffers: Tensors, x: torch.Tensor, knobs: Tensors) -> Tensors:
        """Measure the moments of one trial's batch x [B, F...] at its normalizations, by the buffers' names."""
        self.model.train()
        effects = Effects(TrialRules(self.rules, knobs), buffers, measuring=True)
        forward(self.model, self.layout.views(w), buffers, x, effects)
        return self.model.batch_statistics() | effects.seen

    def metrics(self, out: torch.Tensor, y: torch.Tensor) -> Tensors:
        """Measure one trial's outputs [N, C...] against stored targets y [N...]: `loss` and metrics, scalars."""
        return {"loss": self.task.loss(out, self.task.encode(y)).mean(), **self.task.metrics(out, y)}
