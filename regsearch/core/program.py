"""The tensor program of a study: one trial's step and evaluation, lifted over T trials.

Legend: T trials, B batch, N rows, C outputs, P floats of a row.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from regsearch.core.effects import Effects, has_moments, moments_at_start
from regsearch.core.layout import Layout
from regsearch.core.lifted_module import Lifted, Unchanged
from regsearch.core.optim import OPTIMIZERS
from regsearch.core.pack_function import PackFunction
from regsearch.core.parameters import refuse_parameters
from regsearch.core.sites import refuse_rules_without_site, refuse_to_watch
from regsearch.core.step import FROZEN, Step, Tensors, forward
from regsearch.core.training import Training
from regsearch.core.unpackable import operation_at_fault
from regsearch.errors import UserError
from regsearch.regularizers.base import Regularizer
from regsearch.regularizers.penalties import ElementwisePenalty
from regsearch.space import SCHEDULE, WARMUP
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


class Program:
    """The program that a study's space fixes, whatever the trials in a pack carry.

    Args:
        build: returns the stock module with freshly drawn weights.
        task: what it is trained for.
        rules: the regularizers of the study's space.
        training: epochs, batch size, optimizer.
        scheduled: the flat names of the strengths that may follow a schedule.
        per_layer: those of the strengths that have a number for each layer.
        watch: what is tracked of the weights of every trial, whatever its rules: `sparsity`, `weight_norm`.

    Raises:
        UserError: a rule finds no site in the model, or cannot have what `scheduled` or `per_layer` asks for, or the
            model cannot be lifted. Activation sites are looked for by `check` or the first step.
    """

    def __init__(
        self,
        build: Callable[[], nn.Module],
        task: Task,
        rules: tuple[type[Regularizer], ...],
        training: Training,
        *,
        scheduled: tuple[str, ...] = (),
        per_layer: tuple[str, ...] = (),
        watch: tuple[str, ...] = (),
    ) -> None:
        self.build, self.task, self.rules, self.training = build, task, rules, training
        self.watch = watch
        stock = self._stock()
        refuse_parameters(stock)
        self.model = Lifted(stock)
        self.layout = Layout.of(self.model, training.penalize_bias)
        refuse_to_watch(self.layout, watch)
        self.optimizer = OPTIMIZERS[training.optimizer]
        self.knobs = {knob.name: knob for rule in rules for knob in rule.knobs}
        self.scheduled = tuple(name for name in scheduled if name in self.knobs)
        by_strength = {rule.strength_knob.name: rule for rule in rules}
        self.layers = {name: self._layers(by_strength[name]) for name in per_layer if name in by_strength}
        self.step = Step(self.model, self.layout, rules, task, self.optimizer, self.layers, training.precision)
        self.loops = tuple(rule for rule in rules if rule.site == "loops")
        self._step = PackFunction(self.step, into=(0, 1, 2))
        self._outputs, self._measured = PackFunction(self._forward), PackFunction(self._metrics)
        self._statistics = PackFunction(self._batch_statistics)
        self.one_at_a_time = False
        self._refuse_rules_without_site()

    def _stock(self) -> nn.Module:
        """The module with the same numbers every time in whatever is no parameter and no buffer of floats."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(0, "init"))
            return self.build()

    def _layers(self, rule: type[Regularizer]) -> tuple[str, ...]:
        """The layers that each have their own strength of the rule."""
        on_row = rule.site == "decay" or issubclass(rule, ElementwisePenalty)
        layers = self.layout.layers(penalized=on_row)
        if (not on_row and rule.site not in ("weights", "projections")) or any(s in layers for s in (SCHEDULE, WARMUP)):
            raise UserError(
                f"{rule.name} does not act on each layer by itself",
                key=f"space.{rule.strength_knob.name}.per",
                value="layer",
                allowed="leave it out; elementwise penalties, decay, and rules on weights may have it",
            )
        return layers

    @property
    def buffers(self) -> tuple[str, ...]:
        """The buffers that each trial has of its own: all of floats, and others that the forward pass changes."""
        own = self.model.changing
        return tuple(name for name, value in self.model.named_buffers() if value.is_floating_point() or name in own)

    def find_sites(self, x: torch.Tensor) -> None:
        """Find the model's sites, and the buffers that it changes, by forward passes on a few rows x [N, F...]; further
        calls do nothing.

        Raises:
            UserError: a rule finds no site.
        """
        if self.model.kind is None:
            self.model.find_sites(x)
            self._refuse_rules_without_site()

    def _refuse_rules_without_site(self) -> None:
        refuse_rules_without_site(self.rules, self.model, self.layout, self.task, self.scheduled)

    def fresh(self, seed: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Initial weights [P] and buffers of the trial with this seed: the module's own initialisation."""
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):  # the same numbers on every device
            torch.manual_seed(derive_seed(seed, "init"))
            model = Lifted(self.build())
        model.to(torch.get_default_device())
        buffers = dict(model.named_buffers())
        own = {name: buffers[name].clone() for name in self.buffers} | moments_at_start(self.rules, self.model.layers)
        w, own = self.rows({name: each.detach() for name, each in model.named_parameters()} | own)
        return w, own

    def rows(self, tensors: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, Tensors]:
        """One trial's tensors by name to its row [P] and its buffers, of which one holds what is frozen."""
        parameters = {entry.name for entry in (*self.layout.entries, *self.model.frozen.entries)}
        own = {name: each for name, each in tensors.items() if name not in parameters}
        if self.model.frozen.entries:
            own[FROZEN] = self.model.frozen.row(tensors)
        return self.layout.row(tensors), own

    def tensors(self, w: torch.Tensor, buffers: Tensors) -> Tensors:
        """The reverse of `rows`, without a copy."""
        own = dict(buffers)
        frozen = self.model.frozen.views(own.pop(FROZEN)) if FROZEN in own else {}
        return self.layout.views(w) | frozen | own

    def order(self, seed: int, epoch: int, rows: int) -> torch.Tensor:
        """The order in which the trial with this seed sees the rows in this epoch, [N] int64."""
        generator = torch.Generator("cpu").manual_seed(derive_seed(seed, "order", epoch))
        return torch.randperm(rows, generator=generator, device="cpu").to(torch.get_default_device())

    @property
    def traces(self) -> int:
        """How many graphs were traced so far; new knob values must not add any."""
        return sum(each.traces for each in self._functions())

    def _functions(self) -> tuple[PackFunction, ...]:
        return self._step, self._outputs, self._measured, self._statistics

    def train_step(self, *arguments: Any) -> None:
        """`Step` over T trials, written into its first three arguments; each argument has a leading axis T."""
        if self.model.kind is None:
            self.find_sites(arguments[3][0])
        self._run(self._step, *arguments, shape=tuple(arguments[3].shape[1:]))

    def evaluate(
        self,
        w: torch.Tensor,
        buffers: Tensors,
        x: torch.Tensor,
        y: torch.Tensor,
        knobs: Tensors,
        chunk: int | None = None,
    ) -> Tensors:
        """Loss and metrics of w [T, P] on rows x [N, F...], y [N], in evaluation mode: `loss` and metrics, each [T]."""
        out = self.outputs(w, buffers, x, knobs, chunk)
        return self._run(self._measured, out, y.expand(len(out), *y.shape), shape=len(y))  # type: ignore[no-any-return]

    def outputs(
        self, w: torch.Tensor, buffers: Tensors, x: torch.Tensor, knobs: Tensors, chunk: int | None = None
    ) -> torch.Tensor:
        """The outputs [T, N, C] of w [T, P] under knobs [T] on x [N, F...], in evaluation mode, by `chunk` rows."""
        chunk = chunk or best_chunk(len(x))
        missing = -len(x) % chunk
        padded = torch.cat([x, x.new_zeros(missing, *x.shape[1:])]) if missing else x
        parts = [
            self._run(self._outputs, *self._evaluated(w, buffers, rows, knobs), shape=tuple(rows.shape))
            for rows in torch.split(padded, chunk)
        ]
        return torch.cat(parts, 1)[:, : len(x)] if len(parts) > 1 or missing else parts[0]

    def statistics(self, w: torch.Tensor, buffers: Tensors, x: torch.Tensor, knobs: Tensors) -> Tensors:
        """The statistics of batch normalization under w [T, P]: means over the batches of x [N, F...], without noise.

        By the buffer's name, [T, ...]; empty for a model without. See `torch.optim.swa_utils.update_bn`.
        """
        if not self.model.normalizes_batches and not has_moments(self.rules):
            return {}
        batches = torch.split(x, self.training.batch_size)
        seen: list[Tensors] = [
            self._run(self._statistics, *self._evaluated(w, buffers, rows, knobs), shape=tuple(rows.shape))
            for rows in batches
        ]
        return {name: torch.stack([each[name] for each in seen]).mean(0) for name in seen[0]}

    def _batch_statistics(self, w: torch.Tensor, buffers: Tensors, x: torch.Tensor, knobs: Tensors) -> Tensors:
        self.model.train()
        effects = Effects(self.step.rules_at(knobs), buffers, measuring=True)
        forward(self.model, self.layout.views(w), buffers, x, effects)
        return self.model.batch_statistics() | effects.seen

    def _evaluated(self, w: torch.Tensor, buffers: Tensors, rows: torch.Tensor, knobs: Tensors) -> tuple[Any, ...]:
        norms = {knob.name: knobs[knob.name] for rule in self.rules if rule.site == "norms" for knob in rule.knobs}
        # Every trial gets its own product: one wide product over shared rows is not bitwise the same.
        return w, buffers, rows.expand(len(w), *rows.shape), norms

    def compile_step(self, *arguments: Any) -> None:
        """Compile `train_step` for arguments like these; nothing is written into them. See `PackFunction.compile`."""
        self.find_sites(arguments[3][0])
        self._step.compile(*arguments, shape=tuple(arguments[3].shape[1:]))

    def compile_outputs(self, w: torch.Tensor, buffers: Tensors, rows: torch.Tensor, knobs: Tensors) -> None:
        """Compile `outputs` for chunks of the shape of `rows` [N, F...]."""
        self._outputs.compile(*self._evaluated(w, buffers, rows, knobs), shape=tuple(rows.shape))

    def packable(self, arguments: tuple[Any, ...], rows: torch.Tensor) -> str | None:
        """None if the model trains packed, else the operation that does not.

        Args:
            arguments: of `train_step`, for two trials; they are written into.
            rows: x [N, F...], for the evaluation.
        """
        self.find_sites(rows)
        try:
            with warnings.catch_warnings():
                # What `vmap` says of an operation that it runs trial by trial: it is right all the same.
                warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
                self._step(*arguments, shape=tuple(arguments[3].shape[1:]))
                self._outputs(*self._evaluated(arguments[0], arguments[2], rows, arguments[5]), shape=tuple(rows.shape))
        except Exception as error:  # whatever a user's model trips over, it may still train alone
            return operation_at_fault(error)
        return None

    def run_one_at_a_time(self, eager: bool = False) -> None:
        """Train and evaluate one trial after the other from now on; results differ by rounding alone.

        Args:
            eager: without graphs of the model, which may then do what `packable` refuses.
        """
        self.one_at_a_time, self.step.serial = True, eager
        for each in self._functions():
            each.one_at_a_time(eager and each is not self._measured)

    def run_uncompiled(self) -> None:
        """Forget what was compiled."""
        for each in self._functions():
            each.forget()

    def _forward(self, w: torch.Tensor, buffers: Tensors, x: torch.Tensor, knobs: Tensors) -> torch.Tensor:
        self.model.eval()
        return forward(self.model, self.layout.views(w), buffers, x, Effects(self.step.rules_at(knobs), buffers))[0]

    def alone(self, weights: Mapping[str, torch.Tensor], params: Mapping[str, Any]) -> nn.Module:
        """One trained trial as a module for evaluation, the normalization that it turned on included."""
        module = Lifted(self._stock())
        own = dict(module.named_parameters()) | dict(module.named_buffers())
        with torch.no_grad():  # not by load_state_dict, which leaves out buffers that are not persistent
            for name in weights.keys() - moments_at_start(self.rules, self.model.layers).keys():
                own[name].copy_(weights[name])
        knobs = {name: float(params.get(name, knob.default)) for name, knob in self.knobs.items()}
        normalizes = any(rule.site == "norms" for rule in self.rules)
        if normalizes:
            module.take_sites(self.model)
            module.effect = Effects(self.step.rules_at(knobs), weights)
        if normalizes or self.model.changing:
            return Unchanged(module, self.model.changing).eval() if self.model.changing else module.eval()
        return module.stock.eval()

    def _metrics(self, out: torch.Tensor, y: torch.Tensor) -> Tensors:
        return {"loss": self.task.loss(out, self.task.encode(y)).mean(), **self.task.metrics(out, y)}

    def _run(self, function: PackFunction, *arguments: Any, shape: Any = None) -> Any:
        try:
            return function(*arguments, shape=shape)
        except (RuntimeError, NotImplementedError, TypeError) as error:
            raise UserError(
                f"the model cannot be trained packed: {str(error).splitlines()[0]}",
                key="model",
                allowed="a module without data-dependent control flow",
            ) from error

    def check(self, x: torch.Tensor) -> None:
        """Refuse a model whose output does not fit the task, from a few rows x [N, F...].

        Raises:
            UserError: the forward pass fails, or its output is not of `Task.shape`, or a rule changes rows of codes.
        """
        for rule in self.rules:
            if rule.needs_numbers and not x.is_floating_point():
                allowed = "it needs rows of numbers, and these are of codes"
                raise UserError("this rule finds no site in the data", key=f"space.{rule.name}", allowed=allowed)
        try:
            self.model.find_sites(x)  # in evaluation too there are rules that act at them
            w, buffers = self.fresh(0)
            with torch.no_grad():
                shape = tuple(self._forward(w, buffers, x, {}).shape)
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"the model fails on a batch: {type(error).__name__}: {error}",
                key="model",
                value=tuple(x.shape[1:]),
                allowed="a module that takes rows of this shape",
            ) from error
        wanted = self.task.shape(len(x))
        if len(shape) != len(wanted) or any(b not in (None, a) for a, b in zip(shape, wanted, strict=True)):
            words = ", ".join("any" if size is None else str(size) for size in wanted)
            raise UserError(
                f"the model's output does not fit the task {self.task.name}",
                key="model",
                value=shape,
                allowed=f"a tensor of shape ({words})",
            )
        self._refuse_rules_without_site()

    def steps_per_epoch(self, rows: int) -> int:
        return math.ceil(rows / self.training.batch_size)
