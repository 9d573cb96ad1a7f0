"""A queueing model of a search on many workers, from the costs that growth.py measures.

It replays the loop of `regsearch.driver.rounds.Driver` in time, turn by turn (Lindley's recursion): the driver is one
server, each worker one, the writer one. In a turn the driver waits for the last worker of a cohort, takes in the
reports, decides, asks for what the free lanes need, hands out the cohort's next round, and commits; a worker begins a
round when it has the order and its other cohort's round is done. Trials last as asynchronous halving lets them in the
long run: a third passes each of the rungs at epochs 3, 9 and 27. How long a worker's round takes is drawn
log-normally.

Legend: W workers, S trials of one cohort per worker, n trials asked for so far.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

RUNGS, REDUCTION, EPOCHS = (3, 9, 27), 3, 30
COHORTS = 2
SHARED = 32
"""How many asks share one fit of the sampler's model, where they do; the fit is nearly all that an ask costs."""


@dataclass(frozen=True)
class Costs:
    """Seconds of the driver, where nothing else is said.

    Args:
        ask, ask_seen: of one ask, and more for each of the n trials so far.
        report, record: to decide over a report between rungs; to write it to the outbox.
        prune, prune_seen: of a report at a rung, and more for each of the n trials.
        tell, begin: to end a trial; to record that one begins.
        commit, commit_lane: to make a turn durable, and more for each lane.
        order, wire: to hand a worker its round and take in the answer, and more for each report.
        deliver_trial, deliver_report: of the writer, which is a process of its own.
    """

    ask: float = 0.0
    ask_seen: float = 0.0
    report: float = 0.0
    record: float = 0.0
    prune: float = 0.0
    prune_seen: float = 0.0
    tell: float = 0.0
    begin: float = 0.0
    commit: float = 0.0
    commit_lane: float = 0.0
    order: float = 0.0
    wire: float = 0.0
    deliver_trial: float = 0.0
    deliver_report: float = 0.0

    def asks(self, seen: int, count: int) -> float:
        """Of so many asks in a row, of which the first one comes after `seen` trials."""
        return count * (self.ask + self.ask_seen * (seen + count / 2))


def lengths(count: int, random: np.random.Generator) -> np.ndarray[Any, Any]:
    """Epochs of trials under asynchronous halving in the long run."""
    passed = random.geometric(1 - 1 / REDUCTION, count) - 1
    return np.array([*RUNGS, EPOCHS])[np.minimum(passed, len(RUNGS))]


class _Search:
    """The state of one replay."""

    def __init__(self, costs: Costs, workers: int, slots: int, trials: int, seconds: float, spread: float) -> None:
        self.costs, self.trials, self.seconds, self.spread = costs, trials, seconds, spread
        self.random = np.random.default_rng(0)
        self.left = np.zeros((COHORTS, workers, slots), int)
        self.age = np.zeros_like(self.left)
        self.free, self.done = np.zeros(workers), np.zeros((COHORTS, workers))
        self.now = self.writer = self.busy = 0.0
        self.asked = self.waiting = self.reports = self.turns = 0
        self.ahead = max(1, self.left.size // COHORTS)
        self.spent = dict.fromkeys(("wait", "ask", "prune", "decide", "records", "orders", "commit"), 0.0)

    def take(self, part: str, seconds: float) -> None:
        self.now += seconds
        self.spent[part] += seconds

    def ask(self, count: int) -> None:
        count = min(count, self.trials - self.asked)
        self.take("ask", self.costs.asks(self.asked, count))
        self.asked += count
        self.waiting += count

    def fill(self, cohort: int) -> int:
        """Give free lanes to waiting trials; how many began."""
        free = np.argwhere(self.left[cohort] == 0)
        self.ask(max(0, len(free) - self.waiting))
        begun = min(len(free), self.waiting)
        where = tuple(free[:begun].T)
        self.left[cohort][where] = lengths(begun, self.random)
        self.age[cohort][where] = 0
        self.waiting -= begun
        self.take("records", begun * self.costs.begin)
        return begun

    def dispatch(self, cohort: int) -> None:
        active = (self.left[cohort] > 0).any(1)
        self.take("orders", self.costs.order * active.sum())
        noise = self.random.lognormal(-(self.spread**2) / 2, self.spread, len(active))
        took = np.where(active, self.seconds * noise, 0.0)
        self.free = np.where(active, np.maximum(self.free, self.now) + took, self.free)
        self.done[cohort] = np.where(active, self.free, 0.0)
        self.busy += took.sum()

    def turn(self, cohort: int) -> None:
        costs, left, age = self.costs, self.left[cohort], self.age[cohort]
        self.take("wait", max(0.0, self.done[cohort].max() - self.now))
        active = left > 0
        left[active] -= 1
        age[active] += 1
        reports, ended = int(active.sum()), int((active & (left == 0)).sum())
        rung = int((active & np.isin(age, RUNGS)).sum())
        self.take("orders", reports * costs.wire)
        self.take("decide", reports * costs.report + ended * costs.tell)
        self.take("prune", rung * (costs.prune + costs.prune_seen * self.asked))
        self.take("records", reports * costs.record)
        begun = self.fill(cohort)
        self.dispatch(cohort)
        self.take("commit", costs.commit + costs.commit_lane * self.left.size)
        delivered = reports * costs.deliver_report + begun * costs.deliver_trial
        self.writer = max(self.writer, self.now) + delivered
        self.ask(min(self.ahead - self.waiting, max(1, self.ahead // 4)))
        self.reports, self.turns = self.reports + reports, self.turns + 1


def simulate(
    costs: Costs, workers: int, slots: int, trials: int, seconds: float, spread: float = 0.05
) -> dict[str, Any]:
    """A whole search.

    Args:
        slots: trials in flight per worker, in both cohorts.
        seconds: that a worker's round of one cohort takes.
        spread: standard deviation of its logarithm.

    Returns:
        `seconds`, `reports`, `turns`, `lag` (seconds that the writer needs after the end), `busy` (share of the time in
        which workers train) and `spent` (shares of the time that the driver waits and does each part).
    """
    search = _Search(costs, workers, max(1, slots // COHORTS), trials, seconds, spread)
    for cohort in range(COHORTS):
        search.fill(cohort)
        search.dispatch(cohort)
    search.ask(min(search.ahead, max(1, search.ahead // 4)))
    cohort = 0
    while (search.left > 0).any():
        if (search.left[cohort] > 0).any():
            search.turn(cohort)
        cohort = (cohort + 1) % COHORTS
    now = float(search.now)
    return {
        "seconds": now,
        "reports": search.reports,
        "turns": search.turns,
        "lag": float(max(0.0, search.writer - now)),
        "busy": float(search.busy / (workers * now)),
        "spent": {name: float(value / now) for name, value in search.spent.items()},
    }


def remedies(costs: Costs, latest: tuple[float, float]) -> dict[str, Costs]:
    """What the driver may be changed to, each change besides those before.

    Args:
        latest: `ask` and `ask_seen` where the sampler sees the latest trials alone.
    """
    seen = replace(costs, ask=latest[0], ask_seen=latest[1])
    sorted_rungs = replace(seen, prune_seen=0.0)
    unlisted = replace(sorted_rungs, ask_seen=0.0)
    return {
        "as it is": costs,
        "1. the sampler sees the latest trials": seen,
        "2. and halving keeps its rungs sorted": sorted_rungs,
        "3. and an ask lists no trials": unlisted,
        "4. and the asks of a turn share a fit": replace(unlisted, ask=unlisted.ask / SHARED),
    }
