"""How losses go with a knob, all others left as they are: partial dependence, and the interaction of two knobs.

A random forest learns the losses from the flat encoding of `regsearch.analysis.encoding`. Its partial dependence on a
knob (Friedman, 2001, https://doi.org/10.1214/aos/1013203451) sets the knob to one value in every trial and averages
what the forest says: the mean of the trials' individual curves.

Two regularizers that are never on together, as under `choose: one`, are not asked for together either: in the curve of
one the other is off.

Legend: N trials, K knobs, S settings, R rows to average over.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regsearch.analysis.encoding import Column

TREES, LEAF = 100, 3
ROWS, POINTS, SQUARE, STATISTIC = 200, 20, 12, 100
"""Trials to average over, values in a curve, values each way in a grid, trials in the statistic: all at most."""
TOGETHER = 5
"""Trials that must have two regularizers on together for their interaction to be looked for."""
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Dependence:
    """How validation loss and gap go with one knob.

    Args:
        name: the knob's flat name.
        log: whether it is drawn on a logarithmic scale.
        x: values of the knob, ascending.
        loss, gap: partial dependence at each of them.
        off_loss, off_gap: the same with the knob off; None for a knob that is no strength.
        seen_x, seen_loss, seen_gap: the trials that have it on, as they were observed.
    """

    name: str
    log: bool
    x: list[float]
    loss: list[float]
    gap: list[float]
    off_loss: float | None
    off_gap: float | None
    seen_x: list[float]
    seen_loss: list[float]
    seen_gap: list[float]


@dataclass(frozen=True)
class Interaction:
    """How validation loss goes with two knobs at once.

    Args:
        one, other: their flat names.
        x, y: values of the one and of the other, ascending.
        loss: partial dependence, `loss[i][j]` at x[i] and y[j].
        h: Friedman's H (Friedman and Popescu, 2008, https://doi.org/10.1214/07-AOAS148, eq. 44), 0 where the effects
            of the two add up, 1 where there is nothing but their interaction.
    """

    one: str
    other: str
    x: list[float]
    y: list[float]
    loss: list[list[float]]
    h: float


class Forest:
    """A random forest over the knobs of complete trials; deterministic.

    Args:
        columns: the knobs.
        loss, gap: what was measured, [N].
    """

    def __init__(self, columns: Sequence[Column], loss: Array, gap: Array) -> None:
        from sklearn.ensemble import RandomForestRegressor

        self._columns = {column.name: column for column in columns}
        self._places = {name: index for index, name in enumerate(self._columns)}
        # A knob that shapes a regularizer which is off may stand anywhere: the middle says the least.
        self._x = np.stack([np.where(np.isnan(c.at), -1.0 if c.words else 0.5, c.at) for c in columns], axis=1)
        self._y = np.stack([loss, gap], axis=1)
        self._forest = RandomForestRegressor(TREES, min_samples_leaf=LEAF, random_state=0)
        self._forest.fit(self._x, self._y)
        self._apart = {name: self._never_with(column) for name, column in self._columns.items()}

    def dependence(self, name: str) -> Dependence:
        """Compute the curves of one knob, which every trial must have a number for, were it that of off."""
        column = self._columns[name]
        places = np.linspace(0.0, 1.0, POINTS) if column.high > column.low else column.at[column.on][:1]
        means = self._means([{name: float(place)} for place in places])
        off: tuple[float | None, float | None] = (None, None)
        if column.off is not None:
            off_loss, off_gap = self._means([{name: column.off}])[0].tolist()
            off = (off_loss, off_gap)
        on = column.on
        seen = [column.value(float(place)) for place in column.at[on]]
        loss, gap = means[:, 0].tolist(), means[:, 1].tolist()
        x = [column.value(float(place)) for place in places]
        return Dependence(name, column.log, x, loss, gap, *off, seen, self._y[on, 0].tolist(), self._y[on, 1].tolist())

    def interaction(self, names: Sequence[str]) -> Interaction | None:
        """Compute the interaction of the first two of `names` that enough trials have on together; None without any."""
        for second in range(1, len(names)):
            for first in range(second):
                one, other = self._columns[names[first]], self._columns[names[second]]
                if (one.on & other.on).sum() >= TOGETHER and one.high > one.low and other.high > other.low:
                    return self._of_two(one, other)
        return None

    def _of_two(self, one: Column, other: Column) -> Interaction:
        places = np.linspace(0.0, 1.0, SQUARE)
        grid = self._means([{one.name: float(a), other.name: float(b)} for a in places for b in places])
        x, y = ([column.value(float(place)) for place in places] for column in (one, other))
        loss = grid[:, 0].reshape(SQUARE, SQUARE).tolist()
        return Interaction(one.name, other.name, x, y, loss, self._statistic(one, other))

    def _statistic(self, one: Column, other: Column) -> float:
        """H over trials that have both on: the share of the joint effect's spread that no sum of two effects has."""
        rows = _some(np.flatnonzero(one.on & other.on), STATISTIC)
        a, b = one.at[rows], other.at[rows]
        settings: list[dict[str, float]] = [{one.name: u, other.name: v} for u, v in zip(a, b, strict=True)]
        both, first, second = (
            each - each.mean()
            for each in (
                self._means(settings, STATISTIC)[:, 0],
                self._means([{one.name: u} for u in a], STATISTIC)[:, 0],
                self._means([{other.name: v} for v in b], STATISTIC)[:, 0],
            )
        )
        spread = float(both @ both)
        rest = both - first - second
        return min(1.0, math.sqrt(float(rest @ rest) / spread)) if spread > 0 else 0.0

    def _means(self, settings: Sequence[Mapping[str, float]], most: int = ROWS) -> Array:
        """Mean loss and gap [S, 2] that the forest says of all trials, were some of their knobs set like this."""
        rows = self._x[_some(np.arange(len(self._x)), most)]
        asked = np.repeat(rows[None], len(settings), axis=0)
        for block, setting in zip(asked, settings, strict=True):
            for name, place in setting.items():
                if place != self._columns[name].off:
                    for never in self._apart[name] - setting.keys():
                        block[:, self._places[never]] = self._columns[never].off
            for name, place in setting.items():
                block[:, self._places[name]] = place
        said = self._forest.predict(asked.reshape(-1, rows.shape[1]))
        means: Array = said.reshape(len(settings), len(rows), 2).mean(axis=1)
        return means

    def _never_with(self, column: Column) -> set[str]:
        """The strengths that no trial has on together with this one."""
        if column.off is None:
            return set()
        others = (each for each in self._columns.values() if each.off is not None and each is not column)
        return {other.name for other in others if not (column.on & other.on).any()}


def _some(indices: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """At most so many of them, evenly spread."""
    chosen: NDArray[np.intp] = indices[np.linspace(0, len(indices) - 1, min(most, len(indices))).round().astype(int)]
    return chosen
