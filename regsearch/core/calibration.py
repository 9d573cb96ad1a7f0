"""How a study trains fastest on this machine: in packs, and of which width, or one trial at a time.

Packs share what a step costs beside its arithmetic. One trial at a time keeps its activations in the cache, which is
worth more for large ones. Both take the same steps, to rounding: which of them a study runs holds for its life.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from regsearch.core.compiling import compile_program, pays
from regsearch.core.footprint import Footprint, out_of_memory
from regsearch.core.pack import Data, Load, Pack
from regsearch.core.products import one_thread
from regsearch.core.program import Program

CANDIDATE_WIDTHS = (4, 8, 16, 32, 64)
ALONE = 1
"""The width that stands for one trial at a time."""
_NARROWEST, _FEW = 2, 8
# One at a time must be this much faster than packs: its results have other bits.
_CLEARLY = 1.05
# And is not even compiled where operation by operation it is this much slower: that costs seconds, and was seen to help
# it by at most a third more than it helps packs.
_SLOWER = 1.5
# How often, and for how many seconds, they are measured in turn.
_TURNS, _TURN = 9, 0.05
_SETTLED = "the study is too short", "the study file says so"


@dataclass(frozen=True)
class Calibration:
    """Hold how a worker trains the study fastest.

    Args:
        packed, alone: the study's program in packs, and one trial at a time.
        width: slots of a pack; `ALONE` for one trial at a time.
        uncompiled: why it runs operation by operation, or None.
        serial: the operation that keeps the model from being packed, or None.
    """

    packed: Program
    alone: Program
    width: int
    uncompiled: str | None
    serial: str | None

    def program(self, width: int) -> Program:
        """Choose the program that runs at this width."""
        return self.alone if width == ALONE else self.packed


def calibrate(
    build: Callable[[], Program],
    data: Data,
    most: int,
    trials: int,
    *,
    width: int | None = None,
    compiled: bool | None = None,
    backwards: bool = False,
    memory: int | None = None,
) -> Calibration:
    """Find out what is None of `width` and `compiled`, and compile what is to run.

    Args:
        build: makes the study's program.
        most: how many trials there are for one pack at most.
        trials: how many the study plans.
        backwards: see `compile_program`.
        memory: bytes that a pack may add to what this process has; no wider pack is measured. None: any.
    """
    packed, alone = build(), build()
    footprint = Footprint()
    serial = unpackable(packed, data)
    narrowest = footprint.bytes()
    alone.run_one_at_a_time(eager=serial is not None)
    if serial:
        return Calibration(packed, alone, ALONE, f"the model trains one trial at a time: {serial}", serial)
    training = packed.training
    uncompiled: str | None = _SETTLED[0] if compiled is None else _SETTLED[1]
    wanted = compiled or (compiled is None and pays(len(data.train_y), training.batch_size, training.epochs, trials))
    candidates = [packed, alone] if width is None else [alone if width == ALONE else packed]
    if wanted and width is None and _slower(alone, packed, data, most):
        candidates = [packed]
    why = {each.one_at_a_time: uncompiled for each in candidates}
    if wanted:
        compile_it = partial(compile_program, data=data, trials=trials, backwards=backwards)
        why = {each.one_at_a_time: compile_it(each) for each in candidates}
    if width is None:
        width = _fastest(candidates, data, most, narrowest, memory)
    return Calibration(packed, alone, width, why[width == ALONE], None)


def unpackable(program: Program, data: Data, traced: bool = True) -> str | None:
    """Name the operation that keeps the program from training packed, by one step of two idle slots; else None."""
    pack = Pack(program, data, 2)
    size = min(program.training.batch_size, len(data.train_y))
    inputs = pack.inputs(torch.arange(size).expand(2, -1), pack.plan(1)[0])
    return program.packable(inputs, pack.chunk_rows(), traced)


def unpackable_at_a_glance(program: Program, data: Data) -> str | None:
    """Name that operation by a step on a few rows without a graph, in a fraction of a second."""
    few = (each[:_FEW] for each in (data.train_x, data.train_y, data.validation_x, data.validation_y))
    with one_thread():
        return unpackable(program, Data(*few), traced=False)


def _slower(alone: Program, packed: Program, data: Data, most: int) -> bool:
    width = max(_NARROWEST, min(most, CANDIDATE_WIDTHS[1]))
    return _rate(alone, data, ALONE) * _SLOWER < _rate(packed, data, width)


def _fastest(candidates: list[Program], data: Data, most: int, narrowest: int, memory: int | None) -> int:
    """The width with the most trial-steps per second, at most `most` slots; packs have at least two."""
    widths = [width for width in CANDIDATE_WIDTHS if width < most] + [max(_NARROWEST, most)]
    alone = [program for program in candidates if program.one_at_a_time]
    packed = [program for program in candidates if not program.one_at_a_time]
    if not packed:
        return ALONE
    rates = _rates(packed[0], data, widths, narrowest, memory)
    best = max(rates, key=lambda width: rates[width])
    return ALONE if alone and _advantage(alone[0], packed[0], data, best) > _CLEARLY else best


def _advantage(alone: Program, packed: Program, data: Data, width: int) -> float:
    """How many times as many trial-steps per second one trial at a time makes as packs of this width.

    The median of measurements in turn, of as many trial-steps each: what disturbs the clock disturbs both.
    """
    one, many = _stepping(alone, data, ALONE), _stepping(packed, data, width)
    start = time.perf_counter()
    many()
    packs = max(1, math.ceil(_TURN / (time.perf_counter() - start)))
    ratios = []
    for _ in range(_TURNS):
        seconds = []
        for step, times in ((one, packs * width), (many, packs)):
            start = time.perf_counter()
            for _ in range(times):
                step()
            seconds.append(time.perf_counter() - start)
        ratios.append(seconds[1] / seconds[0])
    return statistics.median(ratios)


def _rates(program: Program, data: Data, widths: list[int], narrowest: int, memory: int | None) -> dict[int, float]:
    """Trial-steps per second by width, the widths in ascending order, as far as memory is known to suffice.

    Args:
        narrowest: bytes that the narrowest pack took.
    """
    rates: dict[int, float] = {}
    used, footprint = narrowest, Footprint()
    for narrower, width in zip([_NARROWEST, *widths], widths, strict=False):
        if memory is not None and used * width / narrower > memory:
            break
        try:
            rates[width] = _rate(program, data, width)
        except Exception as error:  # a program names the model as the user's to mend, with the cause behind it
            if not out_of_memory(error):
                raise
            break
        used = footprint.bytes() + _outputs(program, data, width)
    return rates or {_NARROWEST: _rate(program, data, _NARROWEST)}


def _outputs(program: Program, data: Data, width: int) -> int:
    """Bytes of the outputs of all rows, which an evaluation holds, and once more for what is made of them."""
    pack = Pack(program, data, width)
    rows = pack.chunk_rows()
    out = program.evaluation.outputs(pack.w, pack.buffers, rows, pack.knobs)
    most = max(len(data.train_y), len(data.validation_y))
    return 2 * out.element_size() * (out.numel() // len(rows)) * most


def _rate(program: Program, data: Data, width: int) -> float:
    """Trial-steps per second at this width, the best of five measurements."""
    step = _stepping(program, data, width)
    best = 0.0
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(3):
            step()
        best = max(best, 3 * width / (time.perf_counter() - start))
    return best


def _stepping(program: Program, data: Data, width: int) -> Callable[[], None]:
    """One training step of a pack of this width."""
    pack = Pack(program, data, width)
    for slot in range(pack.width):
        pack.load(slot, Load(slot, {}, slot))
    (plan,) = pack.plan(1)
    chosen = torch.arange(min(program.training.batch_size, len(data.train_y))).expand(pack.width, -1)
    return lambda: pack.step(chosen, plan)
