"""What Tune's controller is given of a study: its trials by their numbers, and a listener to how they end.

Tune saves these objects with its Tuner and loads them again by `Tuner.restore`. They belong to the study's process, so
what is saved is only a reference to them.
"""

from __future__ import annotations

import copy
import pickle
import queue
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ray
from ray.tune import Callback
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.experiment.config_parser import _create_trial_from_spec, _make_parser
from ray.tune.search import SearchAlgorithm, Searcher

from regsearch.space import Value

Issue = Callable[[], tuple[int, Mapping[str, Value]] | None]

_live: dict[str, Numbered | Listener] = {}


def _found(kind: str) -> Numbered | Listener:
    return _live[kind]


class Abandoned(Exception):
    """The study was stopped by hand; Tune's state stays as it was last saved."""


class Numbered(SearchAlgorithm):
    """Hands Tune the settings of a study, as trials whose ids are their numbers.

    Not a `SearchGenerator` around a `Searcher`, since a population refuses every one of those.

    Args:
        issue: the next number and setting, None once there are no more.
        total: how many there are.
        searcher: is told what became of them, if it is Tune's; None where the study's own memory is.
    """

    def __init__(self, issue: Issue, total: int, searcher: Searcher | None) -> None:
        self.issued: dict[int, Mapping[str, Value]] = {}
        self._issue, self._total, self._searcher = issue, total, searcher
        self._experiment: Any = None
        _live["search"] = self

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return _found, ("search",)

    @property
    def total_samples(self) -> int:
        """How many trials there are."""
        return self._total

    def add_configurations(self, experiments: object) -> None:
        """Take the experiment that trials are made of."""
        self._experiment = experiments[0] if isinstance(experiments, list) else experiments

    def next_trial(self) -> TuneTrial | None:
        """Give Tune its next trial, None where there is none now."""
        if self.is_finished():
            return None
        issued = self._issue()
        if issued is None:
            self._finished = True
            return None
        number, flat = issued
        self.issued[number] = flat
        spec = copy.deepcopy(self._experiment.spec)
        spec["config"] = dict(flat)
        trial: TuneTrial = _create_trial_from_spec(
            spec, _make_parser(), evaluated_params=dict(flat), experiment_tag=str(number), trial_id=f"{number:05d}"
        )
        return trial

    def is_finished(self) -> bool:
        """Tell whether every setting was issued."""
        return self._finished or len(self.issued) >= self._total

    def on_trial_result(self, trial_id: str, result: dict[str, object]) -> None:
        """Pass a result on to the searcher."""
        if self._searcher is not None:
            self._searcher.on_trial_result(trial_id, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, object] | None = None, error: bool = False) -> None:
        """Tell the searcher how a trial ended."""
        if self._searcher is not None:
            self._searcher.on_trial_complete(trial_id, result, error)

    def save_to_dir(self, dirpath: str, session_str: str = "", **kwargs: object) -> None:
        """Save what was issued, and the searcher."""
        state = {"issued": self.issued, "experiment": self._experiment}
        path = Path(dirpath, "numbered.pkl")
        beside = path.with_suffix(".new")
        beside.write_bytes(ray.cloudpickle.dumps(state))  # type: ignore[no-untyped-call]
        if self._searcher is not None:
            self._searcher.save(str(Path(dirpath, "searcher.pkl")))
        beside.replace(path)

    def has_checkpoint(self, dirpath: str) -> bool:
        """Tell whether a folder holds a saved state."""
        return Path(dirpath, "numbered.pkl").exists()

    def restore_from_dir(self, dirpath: str) -> None:
        """Load what was issued, and the searcher."""
        state = pickle.loads(Path(dirpath, "numbered.pkl").read_bytes())
        self.issued, self._experiment = state["issued"], state["experiment"]
        if self._searcher is not None:
            self._searcher.restore(str(Path(dirpath, "searcher.pkl")))


class Listener(Callback):
    """Tells which trials Tune ended, and ends Tune when told.

    Attributes:
        ended: (number, error) of the trials that Tune ended, in the order of time; error is None but for a failure.
        trials: Tune's own of those that run, by number.
        stop: whether to end Tune where it stands.
    """

    def __init__(self) -> None:
        self.ended: queue.SimpleQueue[tuple[int, str | None]] = queue.SimpleQueue()
        self.trials: dict[int, TuneTrial] = {}
        self.stop = False
        _live["listener"] = self

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return _found, ("listener",)

    def on_step_begin(self, iteration: int, trials: list[TuneTrial], **info: object) -> None:
        """Abandon Tune where the study was stopped."""
        if self.stop:
            raise Abandoned

    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: object) -> None:
        """Note a trial that Tune starts."""
        self.trials[int(trial.trial_id)] = trial

    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: object) -> None:
        """Note a trial that Tune ended."""
        self.ended.put((int(trial.trial_id), None))

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: object) -> None:
        """Note a trial that failed, and why."""
        self.ended.put((int(trial.trial_id), "its proxy was lost again and again"))
