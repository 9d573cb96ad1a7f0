"""The Pareto front of trials with several values each.

Legend: N points, M objectives.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def front(values: Sequence[Sequence[float]], directions: Sequence[str]) -> list[int]:
    """Find the Pareto front: the points that no other dominates by being as good in all objectives and better in one.

    Of equal points the earliest stands for all. A point with a value that is not finite is none of the front.

    Args:
        values: of each point, [N, M].
        directions: `minimize` or `maximize` for each objective.

    Returns:
        Their indices: the best in the first objective (then in the next ones) first, then always the one that is
        farthest from those before it, in units of the front's range in each objective, the earlier among equals. So
        the first few of the list are spread over the front, however many are taken.
    """
    costs = _costs(values, directions)
    order = np.lexsort((np.arange(len(costs)), *costs.T[::-1]))
    chosen: list[int] = []
    for index in order[np.isfinite(costs[order]).all(axis=1)]:
        # Whoever is first in this order is dominated by none that comes later.
        if not chosen or not (costs[chosen] <= costs[index]).all(axis=1).any():
            chosen.append(int(index))
    return _spread(chosen, costs)


def _costs(values: Sequence[Sequence[float]], directions: Sequence[str]) -> NDArray[np.float64]:
    signs = np.array([-1.0 if each == "maximize" else 1.0 for each in directions])
    costs: NDArray[np.float64] = np.array(values, dtype=np.float64).reshape(-1, len(signs)) * signs
    return costs


def _spread(members: list[int], costs: NDArray[np.float64]) -> list[int]:
    points = costs[members]
    if len(points) < 3:
        return members
    span = np.ptp(points, axis=0)
    points = points / np.where(span > 0, span, 1.0)
    order = [0]
    distance = np.full(len(points), np.inf)
    while len(order) < len(points):
        distance = np.minimum(distance, np.linalg.norm(points - points[order[-1]], axis=1))
        distance[order] = -1.0
        farthest = np.flatnonzero(distance == distance.max())
        order.append(int(min(farthest, key=lambda place: members[place])))
    return [members[place] for place in order]
