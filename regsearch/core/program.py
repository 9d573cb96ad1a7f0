"""The tensor program of a study: one trial's step and evaluation, lifted over T trials.

Legend: T trials, B batch, N rows, C outputs, P floats of a row.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from regsearch.core.graph import PackFunction
from regsearch.core.layout import Layout
from regsearch.core.lift import Lifted
from regsearch.core.optim import OPTIMIZERS
from regsearch.core.serial import SerialFunction, operation_at_fault
from regsearch.core.step import Step, Tensors, forward, marker_of
from regsearch.errors import UserError
from regsearch.regularizers.base import Regularizer
from regsearch.tasks import Task
from regsearch.trial import derive_seed

# Rows that are evaluated at once, at most: activations should stay in the cache.
_CHUNK = 256


def best_chunk(*rows: int) -> int:
    """How many rows to evaluate at once, so that sets of these sizes are filled up to whole chunks with the fewest."""
    if max(rows) <= _CHUNK:
        return max(rows)
    sizes = range(_CHUNK // 2, _CHUNK + 1, 16)
    return min(sizes, key=lambda size: (sum(-(-each // size) * size for each in rows), -size))


@dataclass(frozen=True)
class Training:
    """How every trial of a study is trained; see `regsearch.config.TrainConfig`."""

    epochs: int
    batch_size: int
    optimizer: str
    learning_rate: float
    momentum: float
    betas: tuple[float, float]
    schedule: str
    penalize_bias: bool


class Program:
    """The program that a study's space fixes, whatever the trials in a pack carry.

    Args:
        build: returns the stock module with freshly drawn weights.
        task: what it is trained for.
        rules: the regularizers of the study's space.
        training: epochs, batch size, optimizer.

    Raises:
        UserError: a rule finds no site, or the model cannot be lifted. Activation sites are looked for by `check` or
            the first step.
    """

    def __init__(
        self, build: Callable[[], nn.Module], task: Task, rules: tuple[type[Regularizer], ...], training: Training
    ) -> None:
        self.build, self.task, self.rules, self.training = build, task, rules, training
        self.model = Lifted(build())
        self.layout = Layout.of(self.model, training.penalize_bias)
        self.optimizer = OPTIMIZERS[training.optimizer](momentum=training.momentum, betas=training.betas)
        self.step = Step(self.model, self.layout, rules, task, self.optimizer)
        self.knobs = {knob.name: knob for rule in rules for knob in rule.knobs}
        self.buffers = {name: value for name, value in self.model.named_buffers() if value.is_floating_point()}
        self.loops = tuple(rule for rule in rules if rule.site == "loops")
        self._step: PackFunction | SerialFunction = PackFunction(self.step, into=(0, 1, 2))
        self._outputs: PackFunction | SerialFunction = PackFunction(self._forward)
        self._measured = PackFunction(self._metrics)
        self._functions: tuple[PackFunction | SerialFunction, ...] = (self._step, self._outputs, self._measured)
        self._refuse_rules_without_site()

    def find_sites(self, x: torch.Tensor) -> None:
        """Find the model's sites by a forward pass on a few rows x [N, F...]; further calls do nothing.

        Raises:
            UserError: a rule finds no site.
        """
        if self.model.kind is None:
            self.model.find_sites(x)
            self._refuse_rules_without_site()

    def _refuse_rules_without_site(self) -> None:
        for rule in self.rules:
            marker = marker_of(rule)
            if self.model.kind and marker and not self.model.markers[marker]:
                where = f"a regsearch Site({marker!r})"
            elif self.model.kind and rule.site in ("norms", "activations") and not marker and not self.model.sites:
                where = "an activation, dropout or a regsearch Site()"
            elif rule.site == "targets" and self.task.name != "classification":
                where = "a classification task"
            elif rule.site in ("weights", "projections") and not any(e.role == "weight" for e in self.layout.entries):
                where = "a weight tensor"
            else:
                continue
            raise UserError(
                "this rule finds no site in the model", key=f"space.{rule.name}", allowed=f"it needs {where}"
            )

    def fresh(self, seed: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Initial weights [P] and buffers of the trial with this seed: the module's own initialisation."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, "init"))
            model = Lifted(self.build())
        buffers = dict(model.named_buffers())
        return self.layout.row(dict(model.named_parameters())).detach(), {n: buffers[n].clone() for n in self.buffers}

    def order(self, seed: int, epoch: int, rows: int) -> torch.Tensor:
        """The order in which the trial with this seed sees the rows in this epoch, [N] int64."""
        generator = torch.Generator().manual_seed(derive_seed(seed, "order", epoch))
        return torch.randperm(rows, generator=generator)

    @property
    def traces(self) -> int:
        """How many graphs were traced so far; new knob values must not add any."""
        return sum(each.traces for each in self._functions)

    def train_step(self, *arguments: Any) -> None:
        """`Step` over T trials, written into its first three arguments; each argument has a leading axis T."""
        self.find_sites(arguments[3][0])
        self._run(self._step, *arguments, shape=tuple(arguments[3].shape[1:]))

    def evaluate(
        self, w: torch.Tensor, buffers: Tensors, x: torch.Tensor, y: torch.Tensor, chunk: int | None = None
    ) -> Tensors:
        """Loss and metrics of w [T, P] on rows x [N, F...], y [N], in evaluation mode: `loss` and metrics, each [T]."""
        out = self.outputs(w, buffers, x, chunk)
        return self._run(self._measured, out, y.expand(len(out), *y.shape), shape=len(y))  # type: ignore[no-any-return]

    def outputs(self, w: torch.Tensor, buffers: Tensors, x: torch.Tensor, chunk: int | None = None) -> torch.Tensor:
        """The outputs of w [T, P] on x [N, F...], [T, N, C], in evaluation mode, `chunk` rows at a time."""
        chunk = chunk or best_chunk(len(x))
        missing = -len(x) % chunk
        padded = torch.cat([x, x.new_zeros(missing, *x.shape[1:])]) if missing else x
        parts = [self._part(w, buffers, rows) for rows in torch.split(padded, chunk)]
        return torch.cat(parts, 1)[:, : len(x)] if len(parts) > 1 or missing else parts[0]

    def _part(self, w: torch.Tensor, buffers: Tensors, rows: torch.Tensor) -> torch.Tensor:
        # Every trial gets its own product: one wide product over shared rows is not bitwise the same.
        spread = rows.expand(len(w), *rows.shape)
        return self._run(self._outputs, w, buffers, spread, shape=tuple(rows.shape))  # type: ignore[no-any-return]

    def compile_step(self, *arguments: Any) -> None:
        """Compile `train_step` for arguments like these; nothing is written into them. See `PackFunction.compile`."""
        self.find_sites(arguments[3][0])
        self._step.compile(*arguments, shape=tuple(arguments[3].shape[1:]))

    def compile_outputs(self, w: torch.Tensor, buffers: Tensors, rows: torch.Tensor) -> None:
        """Compile `outputs` for chunks of the shape of `rows` [N, F...]."""
        self._outputs.compile(w, buffers, rows.expand(len(w), *rows.shape), shape=tuple(rows.shape))

    def packable(self, x: torch.Tensor, y: torch.Tensor) -> str | None:
        """None if the model trains packed, else the operation that does not; x [B, F...], y [B] are one batch.

        The step is traced for two trials; nothing is trained.
        """
        self.find_sites(x)
        w, buffers = self.fresh(0)
        zeros = {name: torch.zeros(2, *w.shape) for name in self.optimizer.slots}
        knobs = {name: torch.full((2,), float(knob.default)) for name, knob in self.knobs.items()}
        both: Any = (each.expand(2, *each.shape) for each in (x, y))
        key, one = torch.zeros(2, 2, dtype=torch.int32), torch.ones(2)
        row = {name: value.repeat(2, *[1] * value.dim()) for name, value in buffers.items()}
        try:
            self._step(w.repeat(2, 1), zeros, row, *both, knobs, key, one, one, shape=tuple(x.shape))
            self._outputs(w.repeat(2, 1), row, x.expand(2, *x.shape), shape=tuple(x.shape))
        except Exception as error:  # whatever a user's model trips over, it may still train alone
            return operation_at_fault(error)
        return None

    def run_serially(self) -> None:
        """Train and evaluate one trial at a time from now on, without graphs; results differ by rounding alone."""
        self.step.serial = True
        self._step, self._outputs = SerialFunction(self.step, into=(0, 1, 2)), SerialFunction(self._forward)
        self._functions = (self._step, self._outputs, self._measured)

    def run_uncompiled(self) -> None:
        """Forget what was compiled."""
        for each in self._functions:
            each.forget()

    def _forward(self, w: torch.Tensor, buffers: Tensors, x: torch.Tensor) -> torch.Tensor:
        self.model.eval()
        return forward(self.model, self.layout.views(w), buffers, x, None)[0]

    def _metrics(self, out: torch.Tensor, y: torch.Tensor) -> Tensors:
        return {"loss": self.task.loss(out, self.task.encode(y)).mean(), **self.task.metrics(out, y)}

    def _run(self, function: PackFunction | SerialFunction, *arguments: Any, shape: Any = None) -> Any:
        try:
            return function(*arguments, shape=shape)
        except (RuntimeError, NotImplementedError, TypeError) as error:
            raise UserError(
                f"the model cannot be trained packed: {str(error).splitlines()[0]}",
                key="model",
                allowed="a module without data-dependent control flow",
            ) from error

    def check(self, x: torch.Tensor, outputs: int) -> None:
        """Refuse a model whose output does not fit the task, from a few rows x [N, F...].

        Raises:
            UserError: the forward pass fails, or its output is not [N, outputs].
        """
        w, buffers = self.fresh(0)
        try:
            with torch.no_grad():
                shape = tuple(self._forward(w, buffers, x).shape)
        except Exception as error:
            raise UserError(
                f"the model fails on a batch: {type(error).__name__}: {error}",
                key="model",
                value=tuple(x.shape),
                allowed="a module that takes rows of this shape",
            ) from error
        if shape != (x.shape[0], outputs):
            raise UserError(
                f"the model's output does not fit the task {self.task.name}",
                key="model",
                value=shape,
                allowed=f"a tensor of shape {(x.shape[0], outputs)}",
            )
        self.find_sites(x)

    def steps_per_epoch(self, rows: int) -> int:
        return math.ceil(rows / self.training.batch_size)
