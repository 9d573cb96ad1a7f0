"""What the journal of a search says of each trial: read without loading Optuna, and line by line held against the lines
before, because Optuna leaves out a step of a trial that it does not know.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from regsearch.search.clock import CLOCK, PARAMS, parse_turn, whole_turns
from regsearch.system.documents import FROM_A_COPY, check_shape, damaged
from regsearch.system.files import JsonObject

# Numbers of Optuna's own, see `optuna.storages.journal.JournalStorage`.
_START_STUDY, _SET_STUDY, _START_TRIAL, _MOVE, _REPORT, _SET_TRIAL = 0, 2, 4, 6, 7, 8
_FIELDS: dict[int, tuple[str, ...]] = {
    _START_STUDY: ("study_name", "directions"),
    _SET_STUDY: ("user_attr",),
    3: ("system_attr",),
    _START_TRIAL: ("datetime_start",),
    5: ("trial_id", "param_name", "param_value_internal", "distribution"),
    _MOVE: ("trial_id", "state", "values"),
    _REPORT: ("trial_id", "step", "intermediate_value"),
    _SET_TRIAL: ("trial_id", "user_attr"),
    9: ("trial_id", "system_attr"),
}
"""What a line holds besides, by the number of its operation."""
_NUMBERS = ("trial_id", "state", "step")
_RUNNING, _WAITING = 0, 4


@dataclass
class TrialSteps:
    """One trial as the journal has it.

    Args:
        epochs: those that are known to be decided over.
        ended: whether it has ended.
        waiting: whether Optuna would give it to who asks next, as no trial does at the end of a turn.
        named: whether its setting is kept.
        begun: whether it was trained.
    """

    epochs: set[int] = field(default_factory=set)
    ended: bool = False
    waiting: bool = False
    named: bool = False
    begun: bool = False


@dataclass(frozen=True)
class RoundClock:
    """The clock of a search in rounds, see `regsearch.driver.rounds`."""

    turn: int
    next: int
    lanes: list[tuple[int, int] | None]
    waiting: list[int]

    def under_way(self) -> dict[int, int]:
        """Give the trials that have not ended, and how many epochs of each are decided over."""
        return dict.fromkeys(self.waiting, 0) | dict(lane for lane in self.lanes if lane is not None)


class JournalSteps:
    """The steps in the journal at `path`, up to its last whole turn.

    Attributes:
        trials: by number.
        several: whether there are several objectives, whose values are not in the journal.
        clock: the last one of a search in rounds; None where Ray Tune searches, or nothing was decided yet.

    Raises:
        DamagedFile: a line is none that Optuna wrote, or one that must stand before it does not.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.trials: list[TrialSteps] = []
        self.several: bool | None = None
        self.clock: RoundClock | None = None
        self._turn: int | None = None
        for number, line in enumerate(whole_turns(path).splitlines(), 1):
            log = parse_turn(line, path, number)
            try:
                missing = self._take(log)
            except (KeyError, TypeError):
                raise damaged(path, f"line {number} is no step of a search") from None
            if missing is not None:
                raise damaged(path, f"line {number} needs {missing} before it, which is not there")
        if self.clock is not None:
            self._check_clock(self.clock)

    def _take(self, log: JsonObject) -> str | None:
        """Take in a line; return what must stand before it and does not."""
        operation = log["op_code"]
        values = {name: log[name] for name in _FIELDS[operation]}
        if any(type(values.get(name, 0)) is not int for name in _NUMBERS):
            raise TypeError
        if operation == _START_STUDY:
            self.several = len(log["directions"]) > 1
        elif self.several is None:
            return "the study's start"
        elif operation == _START_TRIAL:
            self.trials.append(TrialSteps(waiting=log.get("state") == _WAITING))
        elif operation == _SET_STUDY and CLOCK in log["user_attr"]:
            return self._take_clock(log["user_attr"][CLOCK])
        elif "trial_id" in values:
            number = log["trial_id"]
            if not 0 <= number < len(self.trials) or self.trials[number].ended:
                return f"the start of trial {number}"
            self._take_step(self.trials[number], operation, log)
        return None

    def _take_step(self, trial: TrialSteps, operation: int, log: JsonObject) -> None:
        if operation == _REPORT:
            trial.epochs.add(log["step"])
            trial.begun = True
        elif operation == _MOVE:
            trial.waiting, trial.ended = log["state"] == _WAITING, log["state"] not in (_RUNNING, _WAITING)
            trial.begun = trial.begun or trial.ended
        elif operation == _SET_TRIAL:
            trial.named = trial.named or PARAMS in log["user_attr"]

    def _take_clock(self, clock: JsonObject) -> str | None:
        turn, last = clock["turn"], self._turn
        if last is not None and turn - last not in (0, 1):
            return f"turn {turn - 1}"
        for number, trial in enumerate(self.trials):
            if trial.waiting or not trial.named:
                return f"the {'start' if trial.waiting else 'setting'} of trial {number}"
        self._turn = turn
        if "lanes" in clock:
            check_shape(clock, RoundClock, FROM_A_COPY, self._path, CLOCK)
            self.clock = RoundClock(**{name: clock[name] for name in RoundClock.__dataclass_fields__})
        return None

    def _check_clock(self, clock: RoundClock) -> None:
        """Refuse a journal whose last clock knows of a trial otherwise than the lines before it."""
        under_way = clock.under_way()
        if any(not 0 <= number < len(self.trials) or self.trials[number].ended for number in under_way):
            raise damaged(self._path, "its last clock does not fit the trials before it")
        for number, trial in enumerate(self.trials):
            last = under_way.get(number, 0)
            if not trial.ended and number not in under_way:
                raise damaged(self._path, f"the end of trial {number} is missing")
            if self.several:
                trial.epochs = set(range(1, last + 1))
            elif lost := set(range(1, max(last, *trial.epochs, 0) + 1)) - trial.epochs:
                raise damaged(self._path, f"epoch {min(lost)} of trial {number} is missing")
            trial.begun = trial.begun or (number in under_way and number not in clock.waiting)
