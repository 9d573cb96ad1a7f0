"""A pack: T slots that train as one program, each exactly as if it were alone.

Legend: T slots, P floats of a row, N rows, B batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from regsearch.core.diagnostics import diagnostics, tracked
from regsearch.core.evaluation import best_chunk
from regsearch.core.knob_rows import Knobs
from regsearch.core.layout import Tensors
from regsearch.core.loops import Loops, with_buffers
from regsearch.core.program import Program
from regsearch.core.rng import step_keys
from regsearch.core.schedule import learning_rate_factor
from regsearch.core.step_inputs import StepInputs, StepPlan
from regsearch.trial import Report


@dataclass(frozen=True)
class Data:
    """Hold training and validation rows as tensors: x [N, F...] float32 (int64: codes), y [N...]."""

    train_x: torch.Tensor
    train_y: torch.Tensor
    validation_x: torch.Tensor
    validation_y: torch.Tensor


@dataclass(frozen=True)
class Load:
    """Hold what a slot needs to train a trial: number, active knobs by flat name, seed; and the epoch that is its last,
    where that is not the study's.
    """

    number: int
    params: Mapping[str, float | str]
    seed: int
    epochs: int | None = None


@dataclass(frozen=True)
class Saved:
    """Hold a trial on its way to another slot, of whatever pack of the same program, at the end of an epoch."""

    load: Load
    epoch: int
    rows: tuple[torch.Tensor, ...]

    @property
    def number(self) -> int:
        """Tell the trial's number."""
        return self.load.number


Start = Load | Saved
"""What a trial begins with: its seed, or a state of its own or of another trial; `Saved.load` has its own knobs."""


class Pack:
    """Train T slots of a program.

    A pack has at least two slots, since products of a single slot are not bitwise those of several, unless the program
    runs one trial at a time; slots without a trial train on and are never looked at.
    """

    def __init__(self, program: Program, data: Data, width: int) -> None:
        self.program, self.data = program, data
        self.width = width if program.one_at_a_time else max(2, width)
        t = self.width
        program.find_sites(data.train_x[:4])
        w, buffers = program.tensors.fresh(0)
        self.w = w.repeat(t, 1)
        self.state: Tensors = {name: torch.zeros_like(self.w) for name in program.optimizer.slots}
        self.state |= {name: torch.zeros(t) for name in program.step.watched}
        self.buffers: Tensors = {name: value.expand(t, *value.shape).contiguous() for name, value in buffers.items()}
        self._knobs = Knobs(program, t)
        self.knobs = self._knobs.values
        self.steps = torch.zeros(t, dtype=torch.int64)
        self.seeds = torch.zeros(t, dtype=torch.int64)
        self.settings: Tensors = {
            name: torch.full((t,), value, dtype=torch.float64) for name, value in program.training.settings().items()
        }
        self.loops = Loops(program.loops, self.knobs, self.w, self.buffers)
        self.loads: list[Load | None] = [None] * t
        self.epochs = [0] * t
        self.trial_steps = 0
        self.chunk = best_chunk(len(data.train_y), len(data.validation_y))

    def load(self, slot: int, load: Load) -> None:
        """Put a trial into a slot at epoch 0; whatever was there is gone."""
        w, buffers = self.program.tensors.fresh(load.seed)
        self.w[slot] = w
        for state in self.state.values():
            state[slot] = 0
        for name, value in buffers.items():
            self.buffers[name][slot] = value
        self._knobs.load(slot, load.params)
        self.steps[slot], self.seeds[slot] = 0, load.seed
        for name, setting in self.program.training.settings().items():
            self.settings[name][slot] = float(load.params.get(f"train.{name}", setting))
        self.loops.start(slot, self.w, self.buffers)
        self.loads[slot], self.epochs[slot] = load, 0

    def free(self, slot: int) -> None:
        """Forget the trial of a slot."""
        self.loads[slot] = None

    def train_epoch(self, slots: list[int]) -> list[Report]:
        """Train the trials in `slots` for one epoch and measure them; all other slots keep their state."""
        others = [slot for slot in range(self.width) if self.loads[slot] is not None and slot not in slots]
        states = {slot: self.save(slot) for slot in others}
        rows, batch = len(self.data.train_y), self.program.training.batch_size
        order = self.order()
        plan = self.plan(self.program.steps_per_epoch(rows))
        for name in self.program.step.watched:
            self.state[name].zero_()
        for chosen, planned in zip(torch.split(order, batch, 1), plan, strict=True):
            self.step(chosen, planned)
        for slot in range(self.width):
            self.epochs[slot] += 1
        self.trial_steps += len(slots) * self.program.steps_per_epoch(rows)
        reports = self._measure(slots)
        for slot, saved in states.items():
            self._restore(slot, saved)
        return reports

    def order(self) -> torch.Tensor:
        """Shuffle the training rows for the epoch that each slot is at, [T, N] int64."""
        rows = len(self.data.train_y)
        at = zip(self.loads, self.epochs, strict=True)
        orders = [torch.arange(rows) if load is None else self.program.order(load.seed, e, rows) for load, e in at]
        return torch.stack(orders)

    def plan(self, steps: int) -> list[StepPlan]:
        """Plan the next `steps` steps: random keys, learning rates, and the strengths that follow a schedule."""
        training, settings = self.program.training, self.settings
        done = self.steps + torch.arange(steps).unsqueeze(1)
        total = training.epochs * self.program.steps_per_epoch(len(self.data.train_y))
        steps_of = training.warmup, training.step_every, training.step_factor
        rate = settings["learning_rate"] * learning_rate_factor(training.schedule, done, total, *steps_of)
        scales = self.program.optimizer.scales((done + 1).to(torch.float64), rate, settings)
        strengths = self._knobs.plan(done.double() / total)
        scale = torch.stack(list(scales.values()), -1).float()
        steps_ahead = zip(step_keys(self.seeds, done), scale, rate.float(), strengths, strict=True)
        return [StepPlan(*step) for step in steps_ahead]

    def inputs(self, chosen: torch.Tensor, plan: StepPlan) -> StepInputs:
        """Gather what a step on the training rows `chosen` [T, B] reads."""
        x, y = self.data.train_x[chosen], self.data.train_y[chosen]
        knobs = self.knobs | plan.strengths if plan.strengths else self.knobs
        return StepInputs(self.w, self.state, self.buffers, x, y, knobs, plan.key, plan.scale, plan.learning_rate)

    def chunk_rows(self) -> torch.Tensor:
        """Give training rows x [N, F...] of the size that is evaluated at once, as an example of them."""
        return self.data.train_x[torch.arange(self.chunk) % len(self.data.train_x)]

    def step(self, chosen: torch.Tensor, plan: StepPlan) -> None:
        """Take one step in every slot, on the training rows `chosen` [T, B]."""
        self.program.train_step(self.inputs(chosen, plan))
        self.steps += 1
        self.loops.after_step(self.w)

    def _measure(self, slots: list[int]) -> list[Report]:
        epochs = torch.tensor(self.epochs, dtype=torch.float32)
        self.loops.after_epoch(self.w, epochs / self.program.training.epochs)
        w, buffers = self._measured()
        rest = self.knobs, self.chunk
        train = self.program.evaluation.measure(w, buffers, self.data.train_x, self.data.train_y, *rest)
        val = self.program.evaluation.measure(w, buffers, self.data.validation_x, self.data.validation_y, *rest)
        rows = with_buffers(w, buffers)
        go_on = self.loops.observe(val["loss"], epochs, rows).tolist()
        measured = {name: (train[name].tolist(), val[name].tolist()) for name in train}
        steps = self.program.steps_per_epoch(len(self.data.train_y))
        watched = diagnostics(self.program.layout, self.program.rules, self.program.watch, w, self.state, steps)
        return [self._report(slot, rows[slot], self._metrics(slot, measured), watched, go_on[slot]) for slot in slots]

    def _metrics(self, slot: int, measured: Mapping[str, tuple[list[float], list[float]]]) -> dict[str, float]:
        """Name what a slot measured on training and validation rows, and the gaps between the two."""
        metrics: dict[str, float] = {}
        for name, (train, validation) in measured.items():
            sign = -1.0 if name in self.program.task.higher else 1.0
            metrics[f"train_{name}"], metrics[f"val_{name}"] = train[slot], validation[slot]
            gap = "gap" if name == "loss" else f"gap_{name}"
            metrics[gap] = sign * (validation[slot] - train[slot])
        return metrics

    def _report(
        self, slot: int, row: torch.Tensor, metrics: dict[str, float], watched: Mapping[str, list[float]], go_on: bool
    ) -> Report:
        """Report on the trial of a slot; where it has ended, its loops choose the weights that it keeps.

        Args:
            row: the weights and buffers that were measured [P + buffer floats].
            watched: diagnostics of all slots, by name.
            go_on: whether the trial's loops have it train on.
        """
        load, epoch = self.loads[slot], self.epochs[slot]
        assert load is not None, "an empty slot is never asked for a report"
        bad = [name for name, value in metrics.items() if not math.isfinite(value)]
        reason = f"diverged in epoch {epoch}: {bad[0]} is not finite" if bad else None
        ended = epoch >= (load.epochs or self.program.training.epochs) or not go_on
        restored = self._finish(slot, row) if ended and reason is None else None
        names = tracked(self.program.rules, load.params, self.program.watch)
        metrics |= {name: watched[name][slot] for name in names}
        return Report(load.number, epoch, metrics, reason, not go_on, restored)

    def _measured(self) -> tuple[torch.Tensor, Tensors]:
        """The weights [T, P] and buffers that a report is about: the averages of the trials that average."""
        w, on = self.loops.averaged(self.w)
        if not bool(on.any()):
            return w, self.buffers
        moments = self.program.evaluation.statistics(w, self.buffers, self.data.train_x, self.knobs)
        fresh = {
            name: torch.where(on.view(-1, *[1] * (value.dim() - 1)), value, self.buffers[name])
            for name, value in moments.items()
        }
        return w, self.buffers | fresh

    def _finish(self, slot: int, row: torch.Tensor) -> int | None:
        """Put the weights and buffers that a slot keeps into it; the epoch they belong to, or None for the last."""
        row, restored = self.loops.choose(slot, row, self.epochs[slot])
        self._put_row(slot, row)
        return restored

    def _put_row(self, slot: int, row: torch.Tensor) -> None:
        self.w[slot] = row[: self.w.shape[1]]
        start = self.w.shape[1]
        for value in self.buffers.values():
            size = value[slot].numel()
            own = row[start : start + size].view_as(value[slot])
            value[slot] = own if value.is_floating_point() else own.round()
            start += size

    def save(self, slot: int) -> Saved:
        """Copy the trial of a slot as it stands."""
        load = self.loads[slot]
        assert load is not None, "an empty slot holds no trial"
        return Saved(load, self.epochs[slot], tuple(row[slot].clone() for row in self._state()))

    def put(self, slot: int, saved: Saved) -> None:
        """Put a saved trial into a slot: it goes on there to the bit."""
        self.load(slot, saved.load)
        self._restore(slot, saved)

    def _restore(self, slot: int, saved: Saved) -> None:
        for value, row in zip(self._state(), saved.rows, strict=True):
            value[slot] = row
        self.epochs[slot] = saved.epoch

    def _state(self) -> list[torch.Tensor]:
        """Everything of a trial that training changes, [T, ...] each."""
        rows = [self.w, *self.state.values(), *self.buffers.values(), self.steps]
        return rows + self.loops.tensors()

    def weights(self, slot: int) -> Tensors:
        """Copy the trial's parameters and buffers, by name."""
        named = self.program.tensors.by_name(self.w[slot], {name: value[slot] for name, value in self.buffers.items()})
        return {name: value.clone() for name, value in named.items()}
