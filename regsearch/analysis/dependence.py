"""How losses go with a knob, all others left as they are: partial dependence, and the interaction of two knobs.

A random forest learns the losses from the flat encoding of `regsearch.analysis.encoding`. Its partial dependence on a
knob (Friedman, 2001, https://doi.org/10.1214/aos/1013203451) sets the knob to one value in every trial and averages
what the forest says: the mean of the trials' individual curves.

Two regularizers that are never on together, as under `choose: one`, are not asked for together either: in the curve of
one the other is off.

Legend: N trials, K knobs, S settings, R rows to average over, P places of one knob.
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
RUIN, RUINED = 12.0, 3
"""A loss is ruined where it rises by so many typical deviations of the trials that are not, in so many trials at
least; one that goes up evenly with a knob rises by eight."""
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
class Ruin:
    """Where a knob ruins the loss.

    Args:
        name: the knob's flat name.
        value: beyond which it does so; `above` or below it.
        loss: mean validation loss at that end of the knob's range; `best`: where it is lowest.
    """

    name: str
    value: float
    above: bool
    loss: float
    best: float

    def words(self) -> str:
        """Say it in a line."""
        side = "above" if self.above else "below"
        return f"{self.name} {side} {self.value:.2g} ruins the loss: {self.loss:.3g}, and {self.best:.3g} at its best"


def ruin(curve: Dependence) -> Ruin | None:
    """Find the value beyond which a knob ruins the loss, above or below; None where it does not.

    It is where the curve passes the middle between its lowest point and its end for the last time. The rise must be
    `RUIN` times the median absolute deviation of the trials on the other side.
    """
    x, seen, losses = np.array(curve.x), np.array(curve.seen_x), np.array(curve.seen_loss)
    best = min(curve.loss)
    for above in (True, False):
        line = np.array(curve.loss if above else curve.loss[::-1])
        rise = float(line[-1]) - best
        low = np.flatnonzero(line < best + rise / 2)
        if not len(low) or low[-1] == len(line) - 1:
            continue
        last, first = (x if above else x[::-1])[low[-1] : low[-1] + 2]
        value = math.sqrt(last * first) if curve.log else float(last + first) / 2
        ruined = seen >= value if above else seen <= value
        if ruined.sum() >= RUINED and (~ruined).any():
            typical = float(np.median(np.abs(losses[~ruined] - np.median(losses[~ruined]))))
            if rise > RUIN * typical:
                return Ruin(curve.name, value, above, float(line[-1]), best)
    return None


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
        self._curves: dict[str, tuple[Array, Array]] = {}

    def dependence(self, name: str) -> Dependence:
        """Compute the curves of one knob, which every trial must have a number for, were it that of off."""
        column = self._columns[name]
        places, means = self._curve(column)
        off: tuple[float | None, float | None] = (None, None)
        if column.off is not None:
            off_loss, off_gap = means[-1].tolist()
            off = (off_loss, off_gap)
            places, means = places[:-1], means[:-1]
        on = column.on
        seen = [column.value(float(place)) for place in column.at[on]]
        loss, gap = means[:, 0].tolist(), means[:, 1].tolist()
        x = [column.value(float(place)) for place in places]
        return Dependence(name, column.log, x, loss, gap, *off, seen, self._y[on, 0].tolist(), self._y[on, 1].tolist())

    def main_effect(self, name: str) -> float:
        """Compute the share of the loss's variance that goes with one knob alone, V(E[f | knob]) / V(f).

        The knob is distributed as over the trials, all others are averaged over (functional ANOVA: Hutter, Hoos and
        Leyton-Brown, 2014, https://proceedings.mlr.press/v32/hutter14.html). Shares of several knobs need not add up
        to 1: what they do together is in none.
        """
        column = self._columns[name]
        places, means = self._curve(column)
        at = self._x[:, self._places[name]]
        nearest = np.abs(at[:, None] - places[None]).argmin(axis=1)
        share = np.bincount(nearest, minlength=len(places)) / len(at)
        loss = means[:, 0]
        total = float(self._forest.predict(self._x)[:, 0].var())
        return min(1.0, float(share @ (loss - share @ loss) ** 2) / total) if total > 0 else 0.0

    def _curve(self, column: Column) -> tuple[Array, Array]:
        """Places of a knob [P], off last, and the mean loss and gap [P, 2] at each."""
        if column.name not in self._curves:
            places = np.linspace(0.0, 1.0, POINTS) if column.high > column.low else column.at[column.on][:1]
            if column.words:
                places = np.arange(len(column.words), dtype=float)
            if column.off is not None:
                places = np.append(places, column.off)
            means = self._means([{column.name: float(place)} for place in places])
            self._curves[column.name] = (places, means)
        return self._curves[column.name]

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
