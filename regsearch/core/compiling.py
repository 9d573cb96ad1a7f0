"""Compiling a program for the data that it will train on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

import torch

from regsearch.core.pack import Data, Pack
from regsearch.core.pack_function import CannotCompile
from regsearch.core.program import Program

PAYS = 40_000
"""Trial-steps of one batch size from which compiling their graph is worth its seconds."""


def pays(training_rows: int, batch_size: int, epochs: int, trials: int) -> bool:
    """Decide whether a study of this size trains long enough for compiling to pay."""
    return trials * epochs * (training_rows // batch_size) >= PAYS


def compile_program(program: Program, data: Data, trials: int, backwards: bool = False) -> str | None:
    """Compile the graphs that `trials` trials on `data` run often; None, or why the program stays uncompiled.

    Args:
        trials: how many are planned; a short last batch is compiled only where it pays by itself.
        backwards: begin with the last graph. Processes that begin at different ends find each other's graphs in the
            compiler's cache.
    """
    jobs = _jobs(program, data, trials)
    try:
        for job in reversed(jobs) if backwards else jobs:
            job()
    except CannotCompile as error:
        program.run_uncompiled()
        return str(error)
    return None


def _jobs(program: Program, data: Data, trials: int) -> list[Callable[[], None]]:
    pack = Pack(program, data, 2)
    rows, training = len(data.train_y), program.training
    (plan,) = pack.plan(1)

    def step(size: int) -> Callable[[], None]:
        return lambda: program.compile_step(pack.inputs(torch.arange(size).expand(2, -1), plan))

    sizes = Counter(min(training.batch_size, rows - start) for start in range(0, rows, training.batch_size))
    often = [size for size, count in sizes.items() if size == max(sizes) or trials * training.epochs * count >= PAYS]
    outputs = partial(program.evaluation.compile_outputs, pack.w, pack.buffers, pack.chunk_rows(), pack.knobs)
    return [*(step(size) for size in often), outputs]
