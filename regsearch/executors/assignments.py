"""What a crew keeps: what its lanes hold, which rounds it owes, who has which place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from regsearch.executors.worker_handle import Lost, Member
from regsearch.trial import Report

if TYPE_CHECKING:
    from regsearch.core.pack import Start


@dataclass
class Held:
    """What a lane holds: what its trial began with, and the epochs of it that were reported."""

    start: Start
    epoch: int


@dataclass(eq=False)
class Order:
    """A round to train: the worker that was told, None before one is, and the reports once they are in."""

    cohort: int
    lanes: list[int]
    index: int | None = None
    reports: list[tuple[int, Report]] | None = None


@dataclass(eq=False)
class Post:
    """A place in the crew: who holds it, with which lanes by cohort, packs of which width, and how it was lost."""

    member: Member
    width: int = 0
    lanes: dict[int, tuple[int, ...]] = field(default_factory=dict)
    lost: Lost | None = None
    losses: int = 0
