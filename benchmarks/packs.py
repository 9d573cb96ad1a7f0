"""Packs of regsearch as endless iterators over their training steps, and packs without what makes trials independent.

Legend: T trials, B batch.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Iterator
from unittest.mock import patch

import torch
from models import Case
from peers import LEARNING_RATE, Rows
from torch.func import vmap

from regsearch.core import layout, pack_function, rng
from regsearch.core.calibration import calibrate
from regsearch.core.pack import Data, Load, Pack
from regsearch.core.program import Program
from regsearch.core.training import Training
from regsearch.regularizers import all_regularizers

MOST = 64
"""Slots that calibration may choose at most."""
TRIALS = 10_000
"""How many trials the study plans, as far as calibration knows."""


class Packs:
    """The program of a model and its packs, calibrated as a study's.

    Args:
        case, rows: the model and its training rows.
        dropout: whether dropout is searched, and on in every trial.
        compiled: compile the step where this machine can.
        width: settled beforehand; None: it is measured.
    """

    def __init__(self, case: Case, rows: Rows, dropout: bool, compiled: bool, width: int | None = None) -> None:
        self.params = {"dropout.p": 0.3} if dropout else {}
        rules = (all_regularizers()["dropout"],) if dropout else ()
        training = Training(1, case.batch, "adam", LEARNING_RATE, 0.9, (0.9, 0.999), "constant", False)
        x, y = rows
        self.data = Data(x, y, x[: case.batch], y[: case.batch])
        start = time.perf_counter()
        build = functools.partial(Program, case.build, case.task, rules, training)
        self.calibration = calibrate(build, self.data, MOST, TRIALS, width=width, compiled=compiled)
        self.found: dict[str, float | str] = {"calibration_seconds": round(time.perf_counter() - start, 1)}
        if self.calibration.uncompiled:
            self.found["uncompiled"] = self.calibration.uncompiled

    def steps(self, width: int) -> Iterator[int]:
        """Train epoch after epoch as `Pack.train_epoch` does, but without the evaluation; gives trial-steps."""
        program = self.calibration.program(width)
        pack = Pack(program, self.data, width)
        for slot in range(width):
            pack.load(slot, Load(slot, self.params, slot))
        rows, batch = len(self.data.train_y), program.training.batch_size
        while True:
            plan = pack.plan(program.steps_per_epoch(rows))
            for chosen, planned in zip(pack.order().split(batch, 1), plan, strict=True):
                pack.step(chosen, planned)
                yield width
            pack.epochs = [epoch + 1 for epoch in pack.epochs]


@contextlib.contextmanager
def dependent(own_streams: bool) -> Iterator[None]:
    """Programs that are made in here give up what independence costs: parameters lie without gaps, and dropout draws
    from torch's one generator. The third part, `MKL_CBWR`, is not set in the processes that use this.

    Args:
        own_streams: keep the trials' own random numbers, and give up the rest alone.
    """
    from torch._inductor import config

    with contextlib.ExitStack() as stack:
        for name in ("_START", "_END"):
            stack.enter_context(patch.object(layout, name, 1))
        if not own_streams:
            stack.enter_context(patch.object(rng.StepContext, "uniform", lambda _, like: torch.rand_like(like)))
            stack.enter_context(patch.object(pack_function, "vmap", functools.partial(vmap, randomness="different")))
            # The check holds the compiled graph against the graph, and these draw different numbers.
            stack.enter_context(patch.object(pack_function, "_check", lambda expected, found: None))
            # Not the generator that the compiler would put in its place: that one takes longer.
            stack.enter_context(config.patch(fallback_random=True))
        yield
