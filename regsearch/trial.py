"""A trial: one setting of the knobs, its seed and its curve. Standard library only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

Kind = Literal["trial", "final"]


class TrialState(StrEnum):
    """States as in Optuna."""

    WAITING = "WAITING"
    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    FAIL = "FAIL"

    @property
    def ended(self) -> bool:
        """Whether a trial in this state has ended."""
        return self in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@dataclass(frozen=True)
class Report:
    """What one trial measured after one epoch.

    Args:
        trial: the trial's number.
        epoch: epochs trained so far, from 1.
        metrics: `train_loss`, `val_loss`, `gap`, `train_<metric>`, ... by name.
        reason: why the trial cannot go on (it diverged), or None.
        stopped: the trial's own early stopping ended it with this epoch.
        restored: the epoch whose weights the trial's loops restored, or None for the last one.
    """

    trial: int
    epoch: int
    metrics: Mapping[str, float]
    reason: str | None = None
    stopped: bool = False
    restored: int | None = None


@dataclass(frozen=True)
class Stage:
    """What a trial trains with from an epoch on. One that no population changed has a single stage.

    Args:
        epoch: epochs trained by then.
        params: the active knobs by flat name.
        trial, seed: of the trial that trained this stage: its own, or the one whose weights it copied.
    """

    epoch: int
    params: Mapping[str, float | str]
    trial: int
    seed: int

    def to_json(self) -> dict[str, object]:
        """Encode the stage as plain JSON; `Stage(**found)` reads it back, to the bit."""
        return {"epoch": self.epoch, "params": dict(self.params), "trial": self.trial, "seed": self.seed}


@dataclass
class Trial:
    """One setting of the knobs, its seed and its curve; it keeps its number for life.

    `params` holds the active knobs by flat name. `reports` is the curve, one report per epoch. `stages` says, where a
    population-based search changed the trial in mid-training, how its weights came about: the first stage has epoch 0,
    and `params` are those of the last. `values` has one number for each objective, of which `value` is the first;
    `violation` is by how much it breaks the study's constraints, 0 where it keeps them.
    """

    number: int
    params: dict[str, float | str]
    seed: int
    kind: Kind = "trial"
    state: TrialState = TrialState.WAITING
    value: float | None = None
    reason: str | None = None
    reports: list[Report] = field(default_factory=list)
    stages: tuple[Stage, ...] = ()
    values: tuple[float, ...] = ()
    violation: float = 0.0

    @property
    def kept_epoch(self) -> int:
        """Give the epoch whose weights the trial kept, or has now; 0 before the first."""
        return kept_epoch(self.reports[-1].epoch, self.reports[-1].restored) if self.reports else 0

    def kept(self) -> dict[str, float]:
        """Give the metrics of the epoch whose weights the trial kept; empty where it measured none."""
        return next((dict(report.metrics) for report in self.reports if report.epoch == self.kept_epoch), {})

    def history(self) -> tuple[Stage, ...]:
        """List the stages of the trial, also where there is only one."""
        return self.stages or (Stage(0, dict(self.params), self.number, self.seed),)


def kept_epoch(last: int, restored: int | None) -> int:
    """Give the epoch whose weights a training kept: the one that its loops restored, else the last."""
    return last if restored is None else restored


def derive_seed(*parts: int | str) -> int:
    """Derive a seed in [0, 2^63) that depends on every part and their order, the same on every machine.

    The first 63 bits of the BLAKE2b hash of the parts' JSON list.
    """
    digest = hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
