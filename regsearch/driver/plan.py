"""Say what a search has to do, and what it came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from regsearch.config import Constraint, StudyConfig, direction
from regsearch.trial import Trial, TrialState

TURN_MS = 100
"""Milliseconds that one turn of the logical clock takes in the tracker: timestamps must not depend on speed."""


@dataclass(frozen=True)
class SearchPlan:
    """What a search has to do.

    Args:
        trials: how many the study has, the baseline included.
        epochs: how long a trial trains at most.
        seed: of the study.
        objectives: the metrics that a trial's value is made of.
        start_ms: when the study began, milliseconds since 1970.
        directions: `minimize` or `maximize` for each objective; to minimize by default.
        constraints: what the best trial must keep to.
    """

    trials: int
    epochs: int
    seed: int
    objectives: tuple[str, ...]
    start_ms: int = 0
    directions: tuple[str, ...] = ()
    constraints: tuple[Constraint, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "directions", self.directions or ("minimize",) * len(self.objectives))

    @classmethod
    def of(cls, config: StudyConfig, higher: frozenset[str] | set[str], start_ms: int) -> SearchPlan:
        """Plan the search of a study.

        Args:
            higher: the metrics of the task of which larger values are better.
        """
        search = config.search
        directions = tuple(direction(name, higher) for name in search.objectives)
        given = (search.trials, config.train.epochs, search.seed, search.objectives, start_ms)
        return cls(*given, directions, search.constraints)


@dataclass(frozen=True)
class SearchResult:
    """What a search came to.

    Args:
        trials: all of them, by number.
        ranked: the complete ones that keep to the constraints, best first; see `regsearch.driver.ranking.rank`.
        front: with several objectives those that no other dominates, see `regsearch.driver.ranking.front`.
        plan: what was to be done.
        now_ms: the logical clock at its end, milliseconds since 1970.
    """

    trials: Mapping[int, Trial]
    ranked: tuple[Trial, ...]
    front: tuple[Trial, ...]
    plan: SearchPlan
    now_ms: int

    @property
    def best(self) -> Trial | None:
        """The best trial; None where none is complete."""
        return next(iter(self.ranked), None)

    @property
    def baseline(self) -> Trial:
        """Trial 0, of which every searched regularizer is off."""
        return self.trials[0]

    @property
    def complete(self) -> list[Trial]:
        """The trials that completed with a value, by number."""
        return [
            trial for trial in self.trials.values() if trial.state is TrialState.COMPLETE and trial.value is not None
        ]

    def count(self, state: TrialState) -> int:
        """Count the trials in a state."""
        return sum(trial.state is state for trial in self.trials.values())
