"""One training step of one trial: `Step.__call__` is the list of its stages. `vmap` lifts it over a pack's trials.

Legend: B batch, C classes, F features, P floats of the flat row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext

import torch

from regsearch.core.diagnostics import watched_in_steps
from regsearch.core.effects import Effects
from regsearch.core.forward import Differentiate, forward, slopes_by_transform
from regsearch.core.layout import Layout, Tensors
from regsearch.core.lifted_module import Lifted
from regsearch.core.optim import Optimizer
from regsearch.core.rng import StepContext
from regsearch.core.rules import LayerStrengths, Rule, RuleClasses, TrialRules
from regsearch.core.step_inputs import StepInputs, Trained
from regsearch.regularizers.activations import Dropout
from regsearch.regularizers.base import Parameter
from regsearch.regularizers.batches import Batch
from regsearch.regularizers.decay import Decay
from regsearch.regularizers.gradients import Gradient, TensorGradient
from regsearch.regularizers.penalties import ElementwisePenalty, Penalty
from regsearch.regularizers.projections import Projection
from regsearch.regularizers.targets import Target
from regsearch.regularizers.weights import Weight
from regsearch.tasks import Task


class Step:
    """Take a training step of one trial under the rules of one study.

    The sites stand in the order of `regsearch.regularizers.SITES`, one method each. Those of `norms` and `activations`
    are in `Effects`, which the model calls in its forward pass; those of `loops` act after the step, in `Loops`.

    Args:
        model: the lifted module.
        layout: where its parameters lie.
        rules: the regularizer classes of the study's space, whatever this trial turns on.
        task, optimizer: what is minimised, and how.
        layers: for each strength that has a number for each layer, by its flat name, those layers.
        precision: `bfloat16` for products of that type in the forward pass of training and its way back.
        differentiate: how the loss is differentiated.
    """

    def __init__(
        self,
        model: Lifted,
        layout: Layout,
        rules: RuleClasses,
        task: Task,
        optimizer: Optimizer,
        layers: Mapping[str, tuple[str, ...]],
        precision: str = "float32",
        differentiate: Differentiate = slopes_by_transform,
    ) -> None:
        self.model, self.layout, self.rules, self.task, self.optimizer = model, layout, rules, task, optimizer
        self.differentiate, self.halved = differentiate, precision == "bfloat16"
        self.strengths, self.scales = LayerStrengths(layout, layers), optimizer.scale_names()
        self.watched = watched_in_steps(rules)

    def __call__(self, inputs: StepInputs) -> Trained:
        """Take one step: the weights w [P], the optimizer's state and the buffers anew."""
        rules, ctx = TrialRules(self.rules, inputs.knobs), StepContext(inputs.key)
        x, y = self.batches(rules, inputs.x, self.task.encode(inputs.y), ctx)
        y = self.targets(rules, y, ctx)

        def loss(parameters: Tensors) -> tuple[torch.Tensor, Tensors]:
            used = self.weights(rules, parameters, ctx)
            out, fresh = self.outputs(rules, used, inputs.buffers, x, ctx)  # norms, activations
            total = self.task.loss(out, y).mean()
            return self.penalties(rules, total, parameters, inputs.buffers, x, ctx), fresh

        slopes, fresh = self.differentiate(loss, self.layout.views(inputs.w))
        g = self.elementwise_penalties(rules, self.layout.row(slopes), inputs.w)
        sums = self.sum_of_norms(inputs.state, g)
        g, sums = self.gradients(rules, g, inputs.w, sums, ctx)
        w = self.decay(rules, inputs.w, inputs.learning_rate)
        w, state = self.optimizer.step(w, g, inputs.state, dict(zip(self.scales, inputs.scale.unbind(), strict=True)))
        w = self.projections(rules, w, inputs.learning_rate)
        return Trained(w, state | sums, inputs.buffers | fresh)

    def batches(
        self, rules: TrialRules, x: torch.Tensor, y: torch.Tensor, ctx: StepContext
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Change the batch: x [B, F...] and encoded targets y [B, C...]."""
        for rule in rules.of(Batch):
            x, y = rule.batch(x, y, ctx.of(rule.name))
        return x, y

    def targets(self, rules: TrialRules, y: torch.Tensor, ctx: StepContext) -> torch.Tensor:
        """Change the targets y [B, C]."""
        for rule in rules.of(Target):
            y = rule.target(y, ctx.of(rule.name))
        return y

    def weights(self, rules: TrialRules, parameters: Tensors, ctx: StepContext) -> Tensors:
        """Change the weight tensors that the forward pass uses; the others stay."""
        used = dict(parameters)
        for rule in rules.of(Weight):
            tensors = self._weight_tensors(rule, used)
            used |= {p.name: own.weight(p.tensor, ctx.of(rule.name)) for p, own in tensors}
        return used

    def outputs(
        self, rules: TrialRules, used: Tensors, buffers: Tensors, x: torch.Tensor, ctx: StepContext
    ) -> tuple[torch.Tensor, Tensors]:
        """Run the model on x [B, F...] in training, its sites changed by norms and activations: output, fresh buffers.

        The output is [B, C...] in float32, whatever the precision of the pass.
        """
        self.model.train()
        effects = Effects(rules, buffers, ctx=ctx, measuring=True, dropout_searched=Dropout in self.rules)
        with torch.autocast(x.device.type, torch.bfloat16) if self.halved else nullcontext():
            out, fresh = forward(self.model, used, buffers, x, effects)
        return out.float() if self.halved else out, fresh

    def penalties(
        self,
        rules: TrialRules,
        loss: torch.Tensor,
        parameters: Tensors,
        buffers: Tensors,
        x: torch.Tensor,
        ctx: StepContext,
    ) -> torch.Tensor:
        """Add to the loss, a scalar, the penalties that have to be differentiated; see `elementwise_penalties`."""
        for rule in rules.of(Penalty):
            if not isinstance(rule, ElementwisePenalty):
                own = ctx.of(rule.name)
                own.x, own.forward = x, self._without_noise(rules, parameters, buffers)
                loss = loss + rule.penalty(self.layout.parameters(parameters, penalized_only=True), own)
        return loss

    def elementwise_penalties(self, rules: TrialRules, g: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """Add to the gradient g [P] at w [P] the slopes of the penalties that have a formula for it."""
        for rule in rules.of(Penalty):
            if isinstance(rule, ElementwisePenalty):
                g = self._penalized(g + self.strengths.over_row(rule).slope(w), g)
        return g

    def sum_of_norms(self, state: Tensors, g: torch.Tensor) -> Tensors:
        """Add the norm of the gradient g [P] to the epoch's sums, where the program watches them."""
        sums = {name: state[name] for name in self.watched}
        if sums:
            sums["gradient_norm"] = sums["gradient_norm"] + torch.linalg.vector_norm(g)
        return sums

    def gradients(
        self, rules: TrialRules, g: torch.Tensor, w: torch.Tensor, sums: Tensors, ctx: StepContext
    ) -> tuple[torch.Tensor, Tensors]:
        """Change the gradient g [P] at w [P], and count in the sums whether it was clipped."""
        clipped = torch.zeros((), dtype=torch.bool)
        for rule in rules.of(Gradient):
            before, g = g, self._changed(rule, g, w, ctx.of(rule.name))
            if "clipped" in rule.tracks:
                clipped = clipped | rule.clipped(before, g)
        return g, sums | {"clipped": sums["clipped"] + clipped} if sums else sums

    def decay(self, rules: TrialRules, w: torch.Tensor, learning_rate: torch.Tensor) -> torch.Tensor:
        """Shrink the weights w [P] that the optimizer's step starts from."""
        for rule in rules.of(Decay):
            w = self._penalized(self.strengths.over_row(rule).decay(w, learning_rate), w)
        return w

    def projections(self, rules: TrialRules, w: torch.Tensor, learning_rate: torch.Tensor) -> torch.Tensor:
        """Bring the weight tensors in w [P] back into the rules' sets."""
        projections = rules.of(Projection)
        named = self.layout.views(w) if projections else {}
        for rule in projections:
            tensors = self._weight_tensors(rule, named)
            named |= {p.name: own.project(p.tensor, learning_rate) for p, own in tensors}
        return self.layout.row(named) if projections else w

    def _weight_tensors(self, rule: Rule, named: Tensors) -> list[tuple[Parameter, Rule]]:
        """The tensors of weights, each with the rule at the strength of its layer."""
        weights = (p for p in self.layout.parameters(named) if p.role == "weight")
        return [(p, self.strengths.at_tensor(rule, p.name)) for p in weights]

    def _changed(self, rule: Gradient, g: torch.Tensor, w: torch.Tensor, ctx: StepContext) -> torch.Tensor:
        """The gradient [P] after a rule; the floats between parameters stay 0."""
        if not isinstance(rule, TensorGradient):
            changed = rule.gradient(g, w, ctx)
            return changed if rule.keeps_zeros else self.layout.row(self.layout.views(changed))
        slopes, weights = self.layout.parameters(self.layout.views(g)), self.layout.views(w)
        return self.layout.row({p.name: rule.tensor_gradient(p, weights[p.name], ctx) for p in slopes})

    def _without_noise(
        self, rules: TrialRules, weights: Tensors, buffers: Tensors
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """The model in evaluation mode, as a function of x [B, F...]."""

        def run(x: torch.Tensor) -> torch.Tensor:
            self.model.eval()
            try:
                return forward(self.model, weights, buffers, x, Effects(rules, buffers))[0]
            finally:
                self.model.train()

        return run

    def _penalized(self, changed: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        """`changed` where the row [P] holds penalized floats, else the row itself."""
        return torch.where(torch.arange(self.layout.width) < self.layout.penalized, changed, row)
