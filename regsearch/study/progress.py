"""Describe a running study to whoever shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Snapshot:
    """What a running study looks like now.

    Args:
        study: its name.
        phase: `sealing`, `calibrating`, `search`, `finals`, `registering`, ...; a change of it is always shown.
        message: what the phase does, in a few words.
        total: trials (in finals: finals) that will have been trained.
        complete, pruned, failed, running, waiting: how many are where now.
        objective: name of what `best_value` is.
        best_value, best_number, best_params: the best trial so far, its knobs by flat name; None before there is one.
        baseline_value: the value of trial 0, None before it ended.
        width, workers: slots of a pack, 1 for one trial at a time; packs at once; 0 before they are known.
        occupancy: share of slots that hold a trial, 0 to 1.
        trial_steps_per_second: optimizer steps of single trials per second, over all packs.
        elapsed, eta: seconds since the start (0: the display's own clock); seconds left, None while unknown.
    """

    study: str = ""
    phase: str = ""
    message: str = ""
    total: int = 0
    complete: int = 0
    pruned: int = 0
    failed: int = 0
    running: int = 0
    waiting: int = 0
    objective: str = "val_loss"
    best_value: float | None = None
    best_number: int | None = None
    best_params: Mapping[str, float | str] = field(default_factory=dict)
    baseline_value: float | None = None
    width: int = 0
    workers: int = 0
    occupancy: float = 0.0
    trial_steps_per_second: float = 0.0
    elapsed: float = 0.0
    eta: float | None = None

    @property
    def ended(self) -> int:
        """How many trials have ended."""
        return self.complete + self.pruned + self.failed


class Progress(Protocol):
    """What a study tells while it works."""

    def due(self) -> bool:
        """Tell whether anything would be shown now; a new phase is shown in any case."""
        ...

    def show(self, snapshot: Snapshot) -> None:
        """Show `snapshot` if one is due or its phase is new."""
        ...

    def say(self, message: str) -> None:
        """Show one line that stays."""
        ...


class Stop:
    """Ask a search to end after its running round."""

    def __init__(self) -> None:
        self.requested = False
