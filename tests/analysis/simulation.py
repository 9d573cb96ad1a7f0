"""Studies made up so that the truth is known: seeds crossed with test rows, as finals leave them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from regsearch.analysis.statistics import Contrast, paired_bootstrap

Array = NDArray[np.float64]
Drawn = tuple[Array, Array, NDArray[np.generic]]


def classification(
    random: np.random.Generator,
    seeds: int = 10,
    rows: int = 200,
    classes: int = 4,
    ease: float = 2.0,
    own: float = 1.0,
    seed: float = 0.3,
    noise: float = 0.5,
    shift: float = 0.0,
) -> Drawn:
    """Labels [S, N] of winner and baseline, and the truth: a row is right where its margin is positive.

    margin = ease + 2 * row + own * (row of this candidate) + seed * (seed of this candidate) + noise * (cell) + shift
    (the winner only). Without shift both candidates have the same distribution, so the true difference is 0.
    """
    y = np.arange(rows) % classes
    common = random.normal(ease, 2.0, rows)
    labels = []
    for add in (shift, 0.0):
        margin = common + add + own * random.normal(size=rows)
        margin = margin + seed * random.normal(size=(seeds, 1)) + noise * random.normal(size=(seeds, rows))
        labels.append(np.where(margin > 0, y, (y + 1) % classes))
    return labels[0], labels[1], y


def regression(
    random: np.random.Generator,
    seeds: int = 10,
    rows: int = 200,
    own: float = 0.5,
    seed: float = 0.1,
    noise: float = 0.2,
    shift: float = 0.0,
) -> Drawn:
    """Values [S, N] of winner and baseline, and the truth; errors are `shift` smaller, relatively, for the winner."""
    y = random.normal(size=rows) * 50
    common = random.normal(size=rows)
    values = []
    for smaller in (shift, 0.0):
        error = common + own * random.normal(size=rows) + noise * random.normal(size=(seeds, rows))
        values.append(y + 50 * (1 - smaller) * np.exp(seed * random.normal(size=(seeds, 1))) * error)
    return values[0], values[1], y


def contrasts(draw: Callable[[np.random.Generator], Drawn], metric: str, repeats: int, draws: int) -> list[Contrast]:
    """One contrast for each of `repeats` studies that `draw` makes."""
    random = np.random.default_rng(20)
    found = []
    for repeat in range(repeats):
        winner, baseline, y = draw(random)
        found.append(paired_bootstrap(winner, baseline, y, metric, draws=draws, seed=repeat))
    return found
