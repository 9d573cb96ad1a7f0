"""What each regularizer of a study costs: an epoch with all of its rules, against the same without one of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from regsearch.config import StudyConfig
from regsearch.core.build import build_program, load_data
from regsearch.core.calibration import ALONE, CANDIDATE_WIDTHS, calibrate
from regsearch.core.compiling import compile_program
from regsearch.core.pack import Data, Load, Pack
from regsearch.core.products import one_thread
from regsearch.core.program import Program
from regsearch.data import Manifest
from regsearch.space import Knob, SearchSpace

Build = Callable[[tuple[str, ...]], Program]
_BATCHES = 8


@dataclass(frozen=True)
class Cost:
    """Hold seconds per trial-step; measuring and what is done once an epoch are shared out among its steps.

    Args:
        step: with every rule.
        rules: what each rule adds, by name: the step with every rule less the step without this one. Of a rule that
            costs less than the clock's noise it may be below zero.
        width: slots of the pack; 1 for one trial at a time.
        compiled: whether the steps were compiled.
    """

    step: float
    rules: dict[str, float]
    width: int
    compiled: bool


def cost_of(config: StudyConfig, space: SearchSpace, manifest: Manifest, data: Path) -> Cost:
    """Measure what each regularizer adds to a training step, on one core; see `seconds_per_rule`.

    Args:
        space: what the study searches.
        data: the folder of the sealed rows.
    """
    with one_thread():
        return seconds_per_rule(
            lambda chosen: build_program(config, manifest, space, chosen),
            space.regularizers(),
            load_data(data),
            config.search.trials,
            width=config.search.width,
            compiled=config.train.compile,
        )


def seconds_per_rule(
    build: Build,
    names: Sequence[str],
    data: Data,
    trials: int,
    *,
    width: int | None = None,
    compiled: bool | None = None,
    repeats: int = 15,
) -> Cost:
    """Measure packs at the width and compiled as a study of `trials` trials has them, each variant in turn.

    All in this process, with its threads and its memory and math library as they are set. Every rule is on in every
    trial, in the middle of the range that is searched.

    Args:
        build: makes the program of these rules.
        names: all rules of the study.
        width, compiled: found out where None, see `calibrate`.
        repeats: of each variant; the fastest counts, as what disturbs a clock only ever adds to it.
    """
    rows = build(tuple(names)).training.batch_size * _BATCHES
    calibration = calibrate(
        lambda: build(tuple(names)), data, CANDIDATE_WIDTHS[1], trials, width=width, compiled=compiled
    )
    few = Data(data.train_x[:rows], data.train_y[:rows], data.validation_x[:rows], data.validation_y[:rows])

    def pack(of: tuple[str, ...]) -> Pack:
        program = build(of)
        if calibration.width == ALONE:
            program.run_one_at_a_time(eager=calibration.serial is not None)
        if calibration.uncompiled is None:
            compile_program(program, few, trials)
        made = Pack(program, few, calibration.width)
        params = {
            rule.strength_knob.name: _middle(rule.strength_knob)
            for rule in program.rules
            if rule.strength_knob.name not in program.layers
        }
        for slot in range(made.width):
            made.load(slot, Load(slot, params, slot))
        return made

    packs = {out: pack(tuple(name for name in names if name != out)) for out in ("", *names)}
    for each in packs.values():
        _seconds(each)
    best = dict.fromkeys(packs, math.inf)
    for _ in range(repeats):
        for name, each in packs.items():
            best[name] = min(best[name], _seconds(each))
    step = best.pop("")
    return Cost(
        step,
        {name: step - seconds for name, seconds in best.items()},
        calibration.width,
        calibration.uncompiled is None,
    )


def _middle(knob: Knob) -> float:
    if knob.log:
        return math.sqrt(knob.low * knob.high)
    return round((knob.low + knob.high) / 2) if knob.integer else (knob.low + knob.high) / 2


def _seconds(pack: Pack) -> float:
    """Seconds per trial-step of one epoch."""
    before, start = pack.trial_steps, time.perf_counter()
    pack.train_epoch(list(range(pack.width)))
    return (time.perf_counter() - start) / (pack.trial_steps - before)
