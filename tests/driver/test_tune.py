"""What proxies of Ray Tune's trials are answered, and what becomes of the copies of a population."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import pytest

from regsearch.data import Manifest, seal
from regsearch.driver.plan import SearchPlan
from regsearch.driver.retrain import trained_again
from regsearch.driver.tune import TuneDriver
from regsearch.executors.executor import ExecutorSettings
from regsearch.executors.local import LocalExecutor
from regsearch.search.journal import JournalFile
from regsearch.search.optuna import OptunaSearch
from regsearch.search.ray_tune.mailbox import ProxyRequest
from regsearch.search.ray_tune.session import TuneSearch
from regsearch.space import Value
from regsearch.study.study import Study
from regsearch.tracking.log.memory import MemoryTracker
from regsearch.tracking.log.records import RunStages, RunStart
from regsearch.trial import Report, Trial, TrialState, derive_seed
from tests.study.small import study_file

EPOCHS = 6
Play = Generator[list[ProxyRequest], dict[int, Any], None]


class Scripted(TuneSearch):
    """Asks what a play says instead of Tune: all that it asks for is answered before it goes on.

    Attributes:
        play, drawn: what is asked for, and how many settings are drawn before.
        meanwhile: what else is asked for while the first is being trained.
    """

    play: Play
    drawn = 0
    meanwhile: tuple[ProxyRequest, ...] = ()

    def start(self) -> None:
        while len(self.flat) < self.drawn:
            issued = self._issue()
            assert issued is not None
            self.flat[issued[0]] = issued[1]
        self._got: dict[int, Any] = {}
        self._left = False
        self._asks = next(self.play)
        self._due = {each.number for each in self._asks}

    @property
    def flat(self) -> dict[int, Mapping[str, Value]]:
        """The settings by number, as Tune knows them."""
        return self._numbered.issued

    def requests(self, seconds: float) -> list[ProxyRequest]:
        found, self._asks = self._asks, list(self.meanwhile) if self._asks else []
        self.meanwhile = self.meanwhile if not found else ()
        return found

    def answer(self, answers: Mapping[int, Any]) -> None:
        self._got |= answers
        if not self._left and self._due <= set(self._got):
            got, self._got = self._got, {}
            try:
                self._asks = self.play.send(got)
                self._due = {each.number for each in self._asks}
            except StopIteration:
                self._left = True

    @property
    def proxies(self) -> int:
        return 0

    @property
    def over(self) -> bool:
        return self._left


class Played:
    """A study whose search follows plays, one after another, as if it were resumed in between."""

    def __init__(self, folder: Path, scheduler: str = "pbt") -> None:
        path = study_file(folder, width=4)
        path.write_text(path.read_text().replace("search: {", f"search: {{engine: ray_tune, scheduler: {scheduler}, "))
        self.study, self.folder = Study.from_file(path), folder
        config = self.study.config
        seal(config.data, config.folder, folder / "data")
        self.space = self.study.spec.drawn_space(Manifest.load(folder / "data"))
        self.trials: dict[int, Trial] = {}

    def executor(self) -> LocalExecutor:
        config, data = self.study.config.to_json(), str(self.folder / "data")
        settings = ExecutorSettings(config, data, self.study.space, lanes=8, workers=1, width=4, compiled=False)
        return LocalExecutor(settings)

    def run(self, drawn: int, play: Callable[[Scripted], Play]) -> MemoryTracker:
        asked = self.study.config.search.model_copy(update={"sampler": "random", "pruner": "none"})
        storage = JournalFile(self.folder / "search.journal")
        memory = OptunaSearch("small", self.space, asked, storage, ["minimize"], EPOCHS)
        search = Scripted(
            memory,
            self.space,
            self.folder,
            metric="val_loss",
            maximize=False,
            epochs=EPOCHS,
            total=drawn + 1,
            parallel=8,
        )
        search.drawn, search.play, tracker = drawn, play(search), MemoryTracker()
        executor = self.executor()
        driver = TuneDriver(
            search,
            tracker,
            executor,
            self.folder / "snapshots",
            SearchPlan(drawn + 1, EPOCHS, 0, ("val_loss",)),
            {number: trial.reports for number, trial in self.trials.items()},
        )
        try:
            driver.run()
        finally:
            executor.close()
        assert all(trial.state is TrialState.COMPLETE for trial in driver.trials.values())
        self.trials = driver.trials
        return tracker

    def trained_alone(self) -> dict[int, list[Report]]:
        """The curves of all trials, trained by their stages."""
        executor = self.executor()
        try:
            again = trained_again(self.trials.values(), executor, EPOCHS)
        finally:
            executor.close()
        return {trial.number: trial.reports for trial, _ in again}


def begin(search: Scripted, number: int) -> ProxyRequest:
    return ProxyRequest(number, "begin", search.flat[number])


def copy_of(search: Scripted, number: int, donor: int, snapshot: str, rate: float) -> ProxyRequest:
    return ProxyRequest(number, "begin", {**search.flat[donor], "dropout.p": rate}, snapshot)


def to_the_end(*numbers: int, at: int) -> Play:
    for _ in range(at, EPOCHS):
        yield [ProxyRequest(number, "epoch") for number in numbers]


def test_a_copy_has_the_past_of_the_state_it_copied_and_trains_again_to_the_bit(tmp_path: Path) -> None:
    """A state is copied after whoever saved it has copied another; and a copy goes back to its seed.

    The last happens where the study was killed before Tune saved what it had decided.
    """
    played, setting = Played(tmp_path), {}

    def play(search: Scripted) -> Play:
        yield [begin(search, number) for number in (1, 2, 3, 4)]
        for _ in (2, 3):
            yield [ProxyRequest(number, "epoch") for number in (1, 2, 3, 4)]
        names = yield [ProxyRequest(1, "save"), ProxyRequest(2, "save")]
        yield [copy_of(search, 2, 1, names[1], 0.41), copy_of(search, 4, 1, names[1], 0.44)]
        yield [copy_of(search, 3, 2, names[2], 0.43), ProxyRequest(1, "epoch")]
        setting.update({number: search.setting(number) for number in range(5)})
        assert search.trials()[4].params == {**setting[1], "dropout.p": 0.44}
        yield [begin(search, 4)]
        yield from to_the_end(4, at=1)
        yield from to_the_end(1, 2, 3, at=4)

    tracker = played.run(4, play)
    found = {number: [(s.epoch, s.trial, dict(s.params)) for s in t.history()] for number, t in played.trials.items()}
    assert found == {
        0: [(0, 0, setting[0])],
        1: [(0, 1, setting[1])],
        2: [(0, 1, setting[1]), (3, 2, {**setting[1], "dropout.p": 0.41})],
        3: [(0, 2, setting[2]), (3, 3, {**setting[2], "dropout.p": 0.43})],
        4: [(0, 4, setting[4])],
    }
    for number, alone in played.trained_alone().items():
        trial = played.trials[number]
        assert all(stage.seed == derive_seed(0, "trial", stage.trial) for stage in trial.history())
        begun = trial.history()[-1].epoch
        assert trial.reports[begun:] == alone[begun:] and len(alone) == EPOCHS
        assert (trial.reports[:begun] == alone[:begun]) == (begun == 0), "that was with other weights"
    told = {each.number: each.stages for each in tracker.of(RunStages)}
    assert [each.number for each in tracker.of(RunStages)] == [2, 4, 3, 4]
    assert told == {number: [stage.to_json() for stage in played.trials[number].stages] for number in (2, 3, 4)}


@pytest.mark.slow
def test_what_has_ended_stays_as_it_ended(tmp_path: Path) -> None:
    """Tune's saved state may be older than the study's memory, and decide otherwise for a trial that has ended."""
    played = Played(tmp_path)
    names: dict[int, str] = {}

    def play(search: Scripted) -> Play:
        yield [begin(search, 1), begin(search, 2)]
        names.update((yield [ProxyRequest(1, "save")]))
        yield [copy_of(search, 2, 1, names[1], 0.41)]
        yield from to_the_end(2, at=2)
        yield from to_the_end(1, at=1)

    played.run(2, play)
    before = {number: (trial.stages, trial.reports) for number, trial in played.trials.items()}
    assert len(before[2][0]) == 2

    def resumed(search: Scripted) -> Play:
        got = yield [copy_of(search, 2, 1, names[1], 0.12), begin(search, 1), begin(search, 3)]
        assert [(each["epoch"], each["done"]) for each in got[2] + got[1]] == [(2, False), (1, False)]
        yield from to_the_end(1, 3, at=1)
        got = {}
        while not got.get("done"):
            got = (yield [ProxyRequest(2, "epoch")])[2][-1]
        assert got["epoch"] == EPOCHS

    tracker = played.run(3, resumed)
    assert {number: (trial.stages, trial.reports) for number, trial in played.trials.items() if number < 3} == before
    assert [start.number for start in tracker.of(RunStart)] == [3] and not tracker.of(RunStages)


def epochs(answer: list[dict[str, Any]]) -> list[int]:
    return [result["epoch"] for result in answer]


@pytest.mark.slow
def test_a_proxy_is_answered_when_tune_can_decide(tmp_path: Path) -> None:
    """With all epochs since; one that was lost while it waited is told them again, and no bit of a curve changes."""
    played = Played(tmp_path, "{name: asha, grace_period: 1, reduction_factor: 3}")

    def play(search: Scripted) -> Play:
        got = yield [begin(search, 1), begin(search, 2)]
        assert (epochs(got[1]), epochs(got[2])) == ([1], [1])
        got = yield [ProxyRequest(1, "epoch")]
        assert epochs(got[1]) == [2, 3]
        search.meanwhile = (begin(search, 1),)
        got = yield [ProxyRequest(1, "epoch"), ProxyRequest(2, "epoch")]
        assert (epochs(got[1]), epochs(got[2])) == ([1], [2, 3])
        assert epochs((yield [ProxyRequest(1, "epoch")])[1]) == [2, 3]
        got = yield [ProxyRequest(1, "epoch"), ProxyRequest(2, "epoch")]
        for answer in got.values():
            assert epochs(answer) == [4, 5, 6] and [each["done"] for each in answer] == [False, False, True]

    played.run(2, play)
    assert {number: trial.reports for number, trial in played.trials.items()} == played.trained_alone()
