"""The models of a study as packages: its champion, and the others that `tracking.models` asks to keep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regsearch.driver.rounds import train_all
from regsearch.executors.executor import Executor
from regsearch.finals.plan import Finals, Weights, package_champion
from regsearch.tracking.log.outbox import Outbox
from regsearch.tracking.log.records import Model, RunKind
from regsearch.trial import Trial

if TYPE_CHECKING:
    from regsearch.core.program import Program

CHAMPION = "champion"


class Packaging:
    """Packages trained models and hands them to the tracker.

    Args:
        program: of the study.
        folder: of the study.
        name: of the study, under which the champion is registered.
        serial: the model trains one trial at a time; what keeps it from being packed mostly keeps it from being
            exported too, which is then told, not raised.
        tell: is told in a line what a user should know of.
    """

    def __init__(
        self, program: Program, folder: Path, name: str, outbox: Outbox, serial: bool, tell: Callable[[str], None]
    ) -> None:
        self._program, self._folder, self._name, self._outbox = program, folder, name, outbox
        self._serial, self._tell = serial, tell

    def champion(
        self, kind: RunKind, number: int, params: Mapping[str, Any], weights: Weights, tags: Mapping[str, str]
    ) -> None:
        """Register a trained model as the study's champion."""
        out = self._folder / "finals" / CHAMPION
        if self._package(out, params, weights, "no champion is registered"):
            self._outbox.append(Model(str(out), self._name, CHAMPION, kind, number, tags))

    def keep(self, kind: RunKind, number: int, params: Mapping[str, Any], weights: Weights) -> bool:
        """Log a trained model with its run; False where it cannot be packaged."""
        out = self._folder / "finals" / "models" / f"{kind}-{number:03d}"
        found = self._package(out, params, weights, "no other models are kept")
        if found:
            self._outbox.append(Model(str(out), "", "", kind, number))
        return found

    def keep_finals(self, finals: Finals) -> None:
        """Log the models of all finals that did not fail."""
        for final in (final for group in finals.trials for final in group):
            weights = finals.weights.get(final.number)
            if weights is not None and not self.keep("final", final.number, final.params, weights):
                return

    def keep_trials(self, trials: Iterable[Trial], executor: Executor, epochs: int) -> None:
        """Log the models of complete trials. The search keeps no weights, so they are trained once more, to the bit."""
        for trial, weights in trained_again(trials, executor, epochs):
            if not self.keep("trial", trial.number, trial.params, weights):
                return

    def _package(self, out: Path, params: Mapping[str, Any], weights: Weights, otherwise: str) -> bool:
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            package_champion(self._program, self._folder / "data", weights, params, out)
        except Exception as error:
            if not self._serial:
                raise
            self._tell(f"{otherwise}, torch cannot export the model: {type(error).__name__}")
            return False
        return True


def trained_again(trials: Iterable[Trial], executor: Executor, epochs: int) -> list[tuple[Trial, Weights]]:
    """Trials of the search with their weights, trained once more from their seeds; those that fail are left out."""
    copies = []
    for trial in trials:
        copy = Trial(trial.number, dict(trial.params), trial.seed)
        copy.stages = trial.stages
        copies.append(copy)
    found: list[tuple[Trial, Weights]] = []
    train_all(executor, copies, epochs, lambda trial, weights: found.append((trial, weights)))
    return [(trial, weights) for trial, weights in found if trial.reason is None]
