"""The flat encoding of trials: every knob a column that is always there, off included.

A study of `choose: one` or `any` draws a strength only where its regularizer is on, so trials have different columns.
But off *is* a value of the strength. Here each knob has a position: 0 to 1 over the range that the trials have of it,
on its scale, and off a quarter of the range outside, on the side where it belongs: below for penalties and noise, whose
off is 0, above for clips and limits, whose off is infinity.

Legend: N trials, K knobs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regsearch.config import TRAIN_KNOBS
from regsearch.space import Knob, Range, SearchSpace, value_names

MARGIN = 0.25
"""How far off lies outside the range, as a share of it."""
_WIDE = 50.0
"""A knob that nothing declares is taken to be on a logarithmic scale where its values span this factor."""


@dataclass(frozen=True, eq=False)
class Column:
    """One knob over the trials.

    Args:
        name: its flat name.
        low, high: the range of its values where it is active and not off.
        log: whether positions are even on a logarithmic scale.
        off: the position of off; None for a knob that is no strength.
        at: positions [N]; NaN where a knob that is no strength is not active; of a word its place among `words`.
        words: the words of a knob that has words for values.
    """

    name: str
    low: float
    high: float
    log: bool
    off: float | None
    at: NDArray[np.float64]
    words: tuple[str, ...] = ()

    @property
    def on(self) -> NDArray[np.bool_]:
        """Where it is active and not off, [N]."""
        active: NDArray[np.bool_] = np.isfinite(self.at) & (self.at != (math.nan if self.off is None else self.off))
        return active

    @property
    def everywhere(self) -> bool:
        """Whether each trial has a number for it, were it that of off."""
        return not self.words and bool(np.isfinite(self.at).all())

    def value(self, position: float) -> float:
        """Compute the knob's value at a position from 0 to 1."""
        if self.log:
            return float(math.exp(math.log(self.low) + position * (math.log(self.high) - math.log(self.low))))
        return float(self.low + position * (self.high - self.low))


def columns(frame: pd.DataFrame, strengths: Iterable[Knob], space: SearchSpace | None = None) -> list[Column]:
    """Encode the knobs that differ between the trials of `frame`, sorted by name.

    Args:
        frame: one row per trial; `<regularizer>.<knob>` holds an active knob's value, or is missing.
        strengths: the regularizers' strengths: what is off where it is missing.
        space: what the trials were drawn from, for the scale of each knob; None takes the declared ones.
    """
    # A forest depends on the order of its columns, and stores give them in orders of their own.
    flat = sorted(str(name) for name in frame.columns if "." in str(name))
    strength_of = {name: knob for knob in strengths for name in value_names(flat, knob.name)}
    scales = {name: knob.log for name, knob in {**strength_of, **TRAIN_KNOBS}.items()}
    scales |= {of.name: of.log for of in (space.ranges() if space else ()) if isinstance(of, Range)}
    made = (_column(name, frame[name], strength_of.get(name), scales) for name in flat)
    return [each for each in made if len(np.unique(each.at[np.isfinite(each.at)])) > 1]


def _column(name: str, values: pd.Series, strength: Knob | None, scales: Mapping[str, bool]) -> Column:
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=float, na_value=math.nan)
    if strength is None and not np.array_equal(np.isnan(numbers), values.isna().to_numpy()):
        words = tuple(sorted({str(each) for each in values.dropna()}))
        at = np.array([math.nan if pd.isna(each) else words.index(str(each)) for each in values], dtype=float)
        return Column(name, 0.0, len(words) - 1.0, False, None, at, words)
    off = math.nan if strength is None or strength.off is None else strength.off
    active = np.isfinite(numbers) & (numbers != off)
    low, high = (float(numbers[active].min()), float(numbers[active].max())) if active.any() else (0.0, 0.0)
    log = low > 0 and scales.get(name, high > _WIDE * low)
    scaled = np.full(numbers.shape, math.nan)
    scaled[active] = np.log(numbers[active]) if log else numbers[active]
    bottom, top = (math.log(low), math.log(high)) if log else (low, high)
    above = strength is not None and off > high
    with np.errstate(invalid="ignore"):
        at = (scaled - bottom) / (top - bottom) if top > bottom else np.where(active, 1.0 - above, math.nan)
    if strength is None:
        return Column(name, low, high, log, None, at)
    place = 1 + MARGIN if above else -MARGIN
    return Column(name, low, high, log, place, np.where(active, at, place))
