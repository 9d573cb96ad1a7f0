"""What the driver asks of a search: propose, take reports, decide, and remember durably. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from regsearch.space import Params
from regsearch.trial import Stage, TrialState

Clock = Mapping[str, Any]


@dataclass(frozen=True)
class Proposal:
    """A setting to try: the trial's number and its active knobs by flat name."""

    number: int
    params: Params


@dataclass(frozen=True)
class Known:
    """A trial as the search remembers it."""

    number: int
    params: Params
    state: TrialState
    value: float | None
    reason: str | None
    stages: tuple[Stage, ...] = ()
    values: tuple[float, ...] = ()
    violation: float = 0.0


class Memory(Protocol):
    """What a study's trials came to; `commit` makes all since the last commit durable together with the clock."""

    def tell(
        self,
        number: int,
        state: TrialState,
        value: float | Sequence[float] | None,
        reason: str | None = None,
        constraints: Mapping[str, float] | None = None,
    ) -> None:
        """Record that a trial ended; `constraints` says by how much it breaks each, at most 0 where it keeps it."""
        ...

    def commit(self, clock: Clock) -> None:
        """Make everything since the last commit survive a kill, all of it or nothing, with the driver's clock."""
        ...

    def clock(self) -> Clock | None:
        """Read the clock of the last commit, None before the first."""
        ...

    def trials(self) -> list[Known]:
        """List all trials by number."""
        ...


class Search(Memory, Protocol):
    """Ask, report, tell as in Optuna: whoever asks decides when."""

    def ask(self) -> Proposal:
        """Suggest the next setting; trial 0 is the baseline."""
        ...

    def report(self, number: int, epoch: int, value: float) -> bool:
        """Take one value; False where the trial should be pruned. The baseline never is."""
        ...
