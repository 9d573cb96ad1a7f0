"""The tensor program of a study: one trial's step and evaluation, lifted over T trials.

Legend: T trials, B batch, N rows, C outputs, P floats of a row.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import cast

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from regsearch.core.evaluation import Evaluation
from regsearch.core.forward import Differentiate, slopes_by_autograd, slopes_by_transform
from regsearch.core.layout import Layout
from regsearch.core.lifted_module import Lifted
from regsearch.core.optim import OPTIMIZERS
from regsearch.core.pack_function import PackFunction
from regsearch.core.parameters import refuse_parameters
from regsearch.core.sites import refuse_rules_without_site, refuse_to_watch
from regsearch.core.step import Step
from regsearch.core.step_inputs import StepInputs
from regsearch.core.training import Training
from regsearch.core.trial_tensors import TrialTensors
from regsearch.core.unpackable import operation_at_fault, refuse_rule_at_fault, run_packed
from regsearch.errors import UserError, said_by
from regsearch.regularizers.base import Regularizer
from regsearch.regularizers.loops import Loop
from regsearch.regularizers.penalties import ElementwisePenalty
from regsearch.space import SCHEDULE, WARMUP
from regsearch.tasks import Task
from regsearch.trial import derive_seed


class Program:
    """Train and evaluate by the program that a study's space fixes, whatever the trials in a pack carry.

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
        stock = self.stock()
        refuse_parameters(stock)
        self.model = Lifted(stock)
        self.layout = Layout.of(self.model, training.penalize_bias)
        refuse_to_watch(self.layout, watch)
        self.optimizer = OPTIMIZERS[training.optimizer]
        self.knobs = {knob.name: knob for rule in rules for knob in rule.knobs}
        self.scheduled = tuple(name for name in scheduled if name in self.knobs)
        by_strength = {rule.strength_knob.name: rule for rule in rules}
        self.layers = {name: self._layers(by_strength[name]) for name in per_layer if name in by_strength}
        self.step = self._step_by(slopes_by_transform)
        self.loops = tuple(cast(type[Loop], rule) for rule in rules if rule.site == Loop.site)
        self.tensors = TrialTensors(build, self.model, self.layout, rules)
        self.evaluation = Evaluation(self.model, self.layout, rules, task, training.batch_size)
        self._pack_step = _in_place(self.step)
        self.one_at_a_time = False
        self._refuse_rules_without_site()

    def stock(self) -> nn.Module:
        """Build the stock module, with the same numbers every time in whatever is no parameter or buffer of floats."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(0, "init"))
            return self.build()

    def _step_by(self, differentiate: Differentiate) -> Step:
        parts = self.model, self.layout, self.rules, self.task, self.optimizer, self.layers, self.training.precision
        return Step(*parts, differentiate)

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

    def order(self, seed: int, epoch: int, rows: int) -> torch.Tensor:
        """Shuffle the rows for this epoch of the trial with this seed, [N] int64."""
        generator = torch.Generator("cpu").manual_seed(derive_seed(seed, "order", epoch))
        return torch.randperm(rows, generator=generator, device="cpu").to(torch.get_default_device())

    def steps_per_epoch(self, rows: int) -> int:
        """Count the batches of an epoch of so many rows."""
        return math.ceil(rows / self.training.batch_size)

    @property
    def traces(self) -> int:
        """Count the graphs that were traced so far; new knob values must not add any."""
        return sum(function.traces for function in (self._pack_step, *self.evaluation.functions))

    def train_step(self, inputs: StepInputs) -> None:
        """Take a `Step` in each slot of a pack, written into `inputs.trained`."""
        if self.model.kind is None:
            self.find_sites(inputs.x[0])
        run_packed(self._pack_step, inputs)

    def compile_step(self, inputs: StepInputs) -> None:
        """Compile `train_step` for inputs like these; nothing is written into them. See `PackFunction.compile`."""
        self.find_sites(inputs.x[0])
        self._pack_step.compile(inputs)

    def packable(self, inputs: StepInputs, rows: torch.Tensor, traced: bool = True) -> str | None:
        """Name the operation that keeps the model from training packed, or None.

        Args:
            inputs: of a step of two trials; it is taken.
            rows: x [N, F...], for the evaluation.
            traced: make the graphs too, which may trip over more.

        Raises:
            UserError: a rule keeps it from that.
        """
        self.find_sites(rows)
        try:
            with warnings.catch_warnings():
                # What `vmap` says of an operation that it runs trial by trial: it is right all the same.
                warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
                (self._pack_step if traced else self._pack_step.try_lifted)(inputs)
                self.evaluation.try_outputs(inputs.w, inputs.buffers, rows, inputs.knobs, traced)
        except Exception as error:  # whatever a user's model trips over, it may still train alone
            refuse_rule_at_fault(error)
            return operation_at_fault(error)
        return None

    def run_one_at_a_time(self, eager: bool = False) -> None:
        """Train and evaluate one trial after the other from now on; results differ by rounding alone.

        Args:
            eager: without graphs of the model, which may then do what `packable` refuses.
        """
        self.one_at_a_time = True
        self.step = self._step_by(slopes_by_autograd if eager else slopes_by_transform)
        self._pack_step = _in_place(self.step)
        self._pack_step.one_at_a_time(eager)
        self.evaluation.run_one_at_a_time(eager)

    def run_uncompiled(self) -> None:
        """Forget what was compiled."""
        for function in (self._pack_step, *self.evaluation.functions):
            function.forget()

    def check(self, x: torch.Tensor, advice: str = "") -> None:
        """Refuse a model whose output does not fit the task, from a few rows x [N, F...].

        Args:
            x: the rows.
            advice: what a study file may say where a convolution wants rows of another shape.

        Raises:
            UserError: the forward pass fails, or its output is not of `Task.shape`, or a rule changes rows of codes.
        """
        for rule in self.rules:
            if rule.needs_numbers and not x.is_floating_point():
                allowed = "it needs rows of numbers, and these are of codes"
                raise UserError("this rule finds no site in the data", key=f"space.{rule.name}", allowed=allowed)
        try:
            self.model.find_sites(x)  # in evaluation too there are rules that act at them
            w, buffers = self.tensors.fresh(0)
            with torch.no_grad():
                shape = tuple(self.evaluation.forward(w, buffers, x, {}).shape)
        except UserError:
            raise
        except Exception as error:
            if not any(isinstance(layer, _ConvNd) for layer in self.model.modules()):
                advice = ""
            raise UserError(
                f"the model fails on a batch of rows of shape {tuple(x.shape[1:])}: {said_by(error)}",
                key="model",
                allowed=f"a module that takes rows of this shape{advice}",
            ) from None
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


def _in_place(step: Step) -> PackFunction[StepInputs, None]:
    """The step over the trials of a pack, written into what it changes; batches of each shape have their own graph."""
    return PackFunction(step, lambda inputs: inputs.trained, shape=lambda inputs: inputs.batch_shape)
