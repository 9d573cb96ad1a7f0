"""Made-up logs of trials that a population set back, and what counts of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from regsearch.tracking.log.records import Metrics, Record, RunEnd, RunStages, RunStart, StudyStart
from regsearch.trial import Stage
from tests.tracking.studies import BEGIN

NUMBER, DONOR, SEED, FIRST = 3, 5, 2**62 + 1, 0.3
"""The trial, the one that it copies, its seed, and the `dropout.p` that it begins with."""
EndWord = Literal["COMPLETE", "PRUNED"]


@dataclass(frozen=True)
class Case:
    """A trial's records.

    Args:
        curve: the `val_loss` of each epoch that counts.
        kept: the epoch whose weights it kept.
        dropout: what it ended with.
    """

    records: tuple[Record, ...]
    curve: dict[int, float]
    kept: int
    dropout: float

    @property
    def loss(self) -> float | None:
        return self.curve.get(self.kept)


class Life:
    """Tells one trial's log, a turn of the logical clock for each epoch."""

    def __init__(self) -> None:
        self.now = BEGIN
        params = {"dropout.p": FIRST, "seed": SEED}
        tags = {"regsearch.regularizers": "dropout"}
        self.records: list[Record] = [
            StudyStart("digits", {}, {}, BEGIN),
            RunStart("trial", NUMBER, "trial-003", params, tags, BEGIN),
        ]

    def measure(self, losses: dict[int, float]) -> Life:
        for epoch, loss in losses.items():
            self.now += 100
            values = {"train_loss": loss / 2, "val_loss": loss, "gap": loss / 2}
            self.records.append(Metrics("trial", NUMBER, epoch, values, self.now))
        return self

    def set_back(self, epoch: int, dropout: float, *, copied: bool = False) -> Life:
        first = Stage(0, {"dropout.p": FIRST}, DONOR if copied else NUMBER, 17 if copied else SEED)
        stages = (first, Stage(epoch, {"dropout.p": dropout}, NUMBER, SEED))
        tags = {"regsearch.regularizers": "dropout"}
        self.records.append(RunStages("trial", NUMBER, [stage.to_json() for stage in stages], tags))
        return self

    def end(self, state: EndWord, restored: int | None = None) -> tuple[Record, ...]:
        self.records.append(RunEnd("trial", NUMBER, state, None, self.now, restored))
        return tuple(self.records)


def six() -> Life:
    """A trial of six epochs, each better than the one before."""
    return Life().measure({1: 0.9, 2: 0.8, 3: 0.7, 4: 0.6, 5: 0.5, 6: 0.4})


CASES = {
    "pruned soon after": Case(
        six().set_back(2, 0.25).measure({3: 5.0}).end("PRUNED"), {1: 0.9, 2: 0.8, 3: 5.0}, 3, 0.25
    ),
    "pruned at once": Case(six().set_back(2, 0.25).end("PRUNED"), {1: 0.9, 2: 0.8}, 2, 0.25),
    "to its beginning": Case(six().set_back(0, 0.25).measure({1: 2.0}).end("COMPLETE"), {1: 2.0}, 1, 0.25),
    "nothing left": Case(six().set_back(0, 0.25).end("PRUNED"), {}, 0, 0.25),
    "twice": Case(
        six().set_back(2, 0.25).measure({3: 5.0, 4: 4.0, 5: 0.1}).set_back(4, 0.2).measure({5: 3.0}).end("COMPLETE"),
        {1: 0.9, 2: 0.8, 3: 5.0, 4: 4.0, 5: 3.0},
        5,
        0.2,
    ),
    "twice in a row": Case(
        six().set_back(2, 0.25).set_back(4, 0.2, copied=True).end("PRUNED"), {1: 0.9, 2: 0.8}, 2, 0.2
    ),
    "restored to a later epoch": Case(
        six().set_back(2, 0.25).measure({3: 5.0, 4: 0.55, 5: 0.95}).end("COMPLETE", restored=4),
        {1: 0.9, 2: 0.8, 3: 5.0, 4: 0.55, 5: 0.95},
        4,
        0.25,
    ),
    "restored to an earlier epoch": Case(
        six().set_back(2, 0.25).measure({3: 5.0, 4: 6.0}).end("COMPLETE", restored=2),
        {1: 0.9, 2: 0.8, 3: 5.0, 4: 6.0},
        2,
        0.25,
    ),
    "copied before its first epoch": Case(
        Life().set_back(4, 0.25, copied=True).measure({5: 5.0, 6: 4.5}).end("COMPLETE"), {5: 5.0, 6: 4.5}, 6, 0.25
    ),
}
