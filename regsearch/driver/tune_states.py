"""Keep the states of trials that Ray Tune pauses or copies, and bring trials back to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from regsearch.core.pack import Load, Saved, Start
from regsearch.core.snapshot import SnapshotError, read, write
from regsearch.driver.tune_lanes import Lanes
from regsearch.driver.tune_proxies import ProxyState, Snapshot
from regsearch.executors.executor import Executor
from regsearch.trial import Stage, Trial


class SavedStates:
    """Keep the states of trials that Tune paused or copied.

    Args:
        folder: of their files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, snapshot: Snapshot, state: Saved, stages: tuple[Stage, ...]) -> None:
        """Write a state with the stages that it came about by."""
        write(self._path(snapshot), state, stages)

    def read(self, snapshot: Snapshot) -> tuple[Saved, tuple[Stage, ...]]:
        """Read a state and its stages.

        Raises:
            SnapshotError: its file is damaged.
        """
        return read(self._path(snapshot))

    def _path(self, snapshot: Snapshot) -> Path:
        return self._folder / f"{snapshot.name}.pt"


class TrialStates:
    """Place trials in lanes as their proxies know them, and save them as they stand there.

    Args:
        damaged: is told of a trial whose saved state cannot be read, and may let it fail.
    """

    def __init__(
        self, executor: Executor, lanes: Lanes, saved: SavedStates, damaged: Callable[[Trial, SnapshotError], None]
    ) -> None:
        self._executor, self._lanes, self._saved, self._damaged = executor, lanes, saved, damaged

    def place(self, trial: Trial, proxy: ProxyState) -> None:
        """Place a trial in a lane, which holds it as its proxy knows it; without a free one it waits."""
        if proxy.lane is not None and proxy.trained == proxy.at:
            return
        self._lanes.leave(proxy)
        lane = self._lanes.free()
        if lane is None:
            return
        saved = None if proxy.snapshot is None else self.read(trial, proxy.snapshot)
        if saved is None:
            proxy.snapshot = None  # nor is it to be given for the trial's state again
        if trial.state.ended:
            return
        load = Load(trial.number, dict(trial.params), trial.seed)
        start: Start = load if saved is None else replace(saved[0], load=load)
        self._lanes.take(trial.number, lane)
        proxy.trained = proxy.at
        self._executor.hold(lane, start, proxy.at)

    def save(self, trial: Trial, proxy: ProxyState, turn: int) -> str:
        """Keep a trial's state as its proxy knows it; give the name under which it is found again."""
        if proxy.snapshot is not None and proxy.snapshot.epoch == proxy.at:
            return proxy.snapshot.name
        snapshot = Snapshot.of(trial.number, proxy.at, turn)
        self.place(trial, proxy)
        if trial.state.ended:
            return snapshot.name
        assert proxy.lane is not None, "there are more lanes than proxies, and who saves does not ask"
        self._saved.save(snapshot, self._executor.state(proxy.lane), trial.history())
        proxy.snapshot = snapshot
        return snapshot.name

    def read(self, trial: Trial, snapshot: Snapshot) -> tuple[Saved, tuple[Stage, ...]] | None:
        """Read a saved state and its stages; None where its file is damaged, which the driver then knows."""
        try:
            return self._saved.read(snapshot)
        except SnapshotError as error:
            self._damaged(trial, error)
            return None
