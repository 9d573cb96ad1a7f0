"""What an executor asks of its workers and what they answer, over a pipe on this machine or to an actor on a cluster.

Requests are answered in the order in which they are sent, each by one `Reply`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from regsearch.space import SearchSpace
from regsearch.trial import Report

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from regsearch.core.pack import Saved, Start

LaneReports = list[tuple[int, Report]]
"""What trials reported, each with the lane that it is in."""
CohortLanes = Mapping[int, tuple[int, ...]]
"""Lanes by cohort."""


@dataclass(frozen=True)
class WorkerSpec:
    """Describe the program and the share of the machine that a worker gets.

    Args:
        index: which of the workers that start together.
        config: the study, as canonical JSON.
        data: the folder of the sealed data, as this worker sees it.
        space: what the study searches, which makes the program.
        most: how many lanes of one cohort it may get.
        width, compiled: None where they are to be measured.
        memory: bytes that its packs may take, where it measures their width; None: most of a GPU's.
        device: where its packs are.
        modules: those of the user that declare rules of the space.
    """

    index: int
    config: str
    data: str
    space: SearchSpace
    most: int
    width: int | None
    compiled: bool | None
    memory: int | None = None
    device: str = "cpu"
    modules: tuple[str, ...] = ()


@dataclass(frozen=True)
class Calibrated:
    """Say what a worker measured before it began; see `regsearch.core.calibration.Calibration`."""

    width: int
    uncompiled: str | None
    serial: str | None


@dataclass(frozen=True)
class LaneTrial:
    """Name the trial of a lane: what it begins with, and the epoch that it is at."""

    start: Start
    epoch: int


# --- requests ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Begin:
    """Train in packs of this width from now on, compiled or not. Answered by `Done`."""

    width: int
    compiled: bool


@dataclass(frozen=True)
class PlaceLanes:
    """Have these lanes from now on, and put the saved trials into theirs; trials in lanes that stay go on where they
    are. Answered by `Done`.
    """

    lanes: CohortLanes
    saved: Mapping[int, Saved] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainRound:
    """Load trials, each brought to its epoch, then train `lanes` for one epoch. Answered by `RoundReports`.

    Args:
        loads: the trials to load first, by lane.
        waited_for: the worker stood idle until now waiting for this request, not for want of trials.
    """

    lanes: tuple[int, ...]
    loads: Mapping[int, LaneTrial] = field(default_factory=dict)
    waited_for: bool = False


@dataclass(frozen=True)
class SaveTrials:
    """Copy the trials in `lanes` as they stand; `loads` as in `TrainRound`. Answered by `SavedTrials`."""

    lanes: tuple[int, ...]
    loads: Mapping[int, LaneTrial] = field(default_factory=dict)


@dataclass(frozen=True)
class GetWeights:
    """Read the weights of the trial in `lane`; `loads` as in `TrainRound`. Answered by `TrialWeights`."""

    lane: int
    loads: Mapping[int, LaneTrial] = field(default_factory=dict)


@dataclass(frozen=True)
class GetUsage:
    """Say what was spent up to now, as every reply does. Answered by `Done`."""


@dataclass(frozen=True)
class Stop:
    """End the worker's process. Not answered."""


Request = Begin | PlaceLanes | TrainRound | SaveTrials | GetWeights | GetUsage

# --- answers ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Done:
    """Say that a request without a result was carried out."""


@dataclass(frozen=True)
class RoundReports:
    """Carry the reports of a round, in the order of its lanes."""

    reports: LaneReports


@dataclass(frozen=True)
class SavedTrials:
    """Carry trials as they stand, by lane."""

    trials: dict[int, Saved]


@dataclass(frozen=True)
class TrialWeights:
    """Carry the parameters and buffers of a trial, by name."""

    arrays: dict[str, npt.NDArray[np.generic]]


Answer = Done | RoundReports | SavedTrials | TrialWeights


@dataclass(frozen=True)
class Usage:
    """Count what a worker spent since it was started.

    Args:
        pack: CPU seconds in packs.
        cpu: CPU seconds in all.
        waited: seconds without work while a request was waited for.
        idle: seconds without work for want of trials.
        steps: trial-steps trained.
    """

    pack: float = 0.0
    cpu: float = 0.0
    waited: float = 0.0
    idle: float = 0.0
    steps: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.pack + other.pack,
            self.cpu + other.cpu,
            self.waited + other.waited,
            self.idle + other.idle,
            self.steps + other.steps,
        )

    def __sub__(self, other: Usage) -> Usage:
        return self + Usage(-other.pack, -other.cpu, -other.waited, -other.idle, -other.steps)


@dataclass(frozen=True)
class Reply:
    """Answer a request, and say what the worker spent so far."""

    answer: Answer
    usage: Usage


# --- failures, in the place of a reply --------------------------------------------------------------------------------


@dataclass(frozen=True)
class StudyRefused:
    """Say that the model or the data is refused, which no other worker would take either."""

    error: Exception


@dataclass(frozen=True)
class WorkerFailed:
    """Say that the worker cannot go on, why, and whether memory ran out."""

    error: Exception
    out_of_memory: bool = False


Failure = StudyRefused | WorkerFailed
