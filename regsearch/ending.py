"""How a study ends: its finals, their test, pictures and champion, and the answer."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from regsearch.analysis.comparison import Candidate, FinalsSummary, summarize
from regsearch.analysis.report import answer as finals_answer
from regsearch.analysis.report import describe, skipped
from regsearch.answer import Answer
from regsearch.books import TURN_MS, Books
from regsearch.data import Manifest, join, opened, resample
from regsearch.description import answered
from regsearch.entrants import entrants
from regsearch.errors import UserError
from regsearch.executors.base import Executor
from regsearch.files import write_json
from regsearch.finals import (
    Finals,
    Numbers,
    Weights,
    decide,
    kept,
    plan_finals,
    test_finals,
    train_finals,
)
from regsearch.front import front_rows, keep_front, kept_constraints, remark
from regsearch.importance import keep_importance
from regsearch.machine import record_machine, start_executor
from regsearch.packaging import Packaging, trained_again
from regsearch.refit import train_refit
from regsearch.regularizers import all_regularizers
from regsearch.reporting import add_report
from regsearch.space import active_regularizers
from regsearch.study import Study
from regsearch.tracking.outbox import Outbox
from regsearch.tracking.protocol import Artifact, StudyEnd
from regsearch.trial import Trial, TrialState, derive_seed
from regsearch.verdict import tell_result, tell_roles, tell_tests

if TYPE_CHECKING:
    from regsearch.core.program import Program

_FEW = 2
"""Settings that may win beside the baseline without a word: the claim's error stays within 5 %."""


class Ending:
    """What comes after the search of a study.

    Args:
        executor: that of the search; it is closed where finals need other rows.
        describe: the tags of a trial's run.
        tell: is told in a line what a user should know of.
        begin: is told which phase begins.
        ready: is called before the test is opened, and refuses a store that would not take what it shows.
    """

    def __init__(
        self,
        study: Study,
        manifest: Manifest,
        executor: Executor,
        outbox: Outbox,
        describe: Callable[[Trial], dict[str, str]],
        tell: Callable[[str], None],
        begin: Callable[[str], None],
        ready: Callable[[], None],
    ) -> None:
        self.study, self.config, self.folder, self.manifest = study, study.config, study.folder, manifest
        self.executor, self.outbox = executor, outbox
        self.describe, self.tell, self.begin, self.ready = describe, tell, begin, ready
        self.strengths = [rule.strength_knob for rule in all_regularizers().values()]

    def answer(self, driver: Books[Any], seconds: dict[str, float]) -> Answer:
        """Hold the finals of a search that has ended, and give the answer; `seconds` gets what they took."""
        trials = list(driver.trials.values())
        complete = [trial for trial in trials if trial.state is TrialState.COMPLETE and trial.value is not None]
        best = driver.best()
        summary, winner = None, best
        pack = {"width": self.executor.width, "workers": self.executor.workers}
        start = time.time()
        if best is not None and self.config.finalize.seeds and driver.trials[0] in complete:
            summary, winner = self._hold_finals(driver)
        elif best is not None and not self.config.finalize.seeds:
            self._register_unfinalized(best)
        self._keep_trials(complete)
        with self._closing():
            self._picture_gaps(trials, winner)
            keep_front(driver, self.folder / "finals", self.outbox)
            keep_importance(trials, self.study.space, self.folder / "finals", self.outbox)
        sentence = self._sentence(summary, best, complete) + remark(driver)
        known = opened(self.study.root / "ledger", self.manifest.test_digest)
        self.outbox.append(answered(self.config, sentence, trials, winner, summary, known))
        add_report(self.study, self.outbox, sentence, self.tell)
        self.outbox.append(StudyEnd("COMPLETE", driver.now_ms() + TURN_MS))
        self.outbox.commit()
        seconds["finals"] = time.time() - start
        counts = {state: sum(trial.state is state for trial in trials) for state in TrialState}
        return Answer(
            study=self.config.name,
            complete=counts[TrialState.COMPLETE],
            pruned=counts[TrialState.PRUNED],
            failed=counts[TrialState.FAIL],
            best=None if best is None else {"number": best.number, "value": best.value, "params": best.params},
            pack=pack,
            finals=None if summary is None else finals_answer(summary, target=self._target()),
            sentence=sentence,
            timing=seconds,
            front=front_rows(driver),
            constraints=kept_constraints(driver),
        ).after(known)

    @contextmanager
    def _closing(self) -> Iterator[None]:
        """End the workers meanwhile: nothing more is trained."""
        if self.executor.workers:
            record_machine(self.folder, self.executor)
        thread = threading.Thread(target=self.executor.close, name="closing")
        thread.start()
        try:
            yield
        finally:
            thread.join()

    def _hold_finals(self, driver: Books[Any]) -> tuple[FinalsSummary, Trial]:
        """Train the candidates, choose the winner, open the test, and tell the store what it showed."""
        self.begin("finals")
        space, start_ms = self.study.drawn(self.manifest), driver.now_ms()
        found, missing = entrants(driver.ranked(), driver.trials[0], space, self.config.finalize.top, self.strengths)
        numbers = Numbers(self.outbox.path)
        finals = plan_finals(self.config, found, numbers)
        train_finals(self.config, finals, self._on_split, self.outbox, start_ms, self.describe)
        winner = decide(finals)
        refit = self._refit(finals, winner, numbers, start_ms) if self.config.finalize.refit else None
        program = self._program()
        ledger = self.study.root / "ledger"
        self.ready()
        measured, truth = test_finals(self.config, program, finals, winner, self.folder, ledger)
        summary = self._summarize(finals, winner, measured, truth, program.task.metric, missing)
        tell_roles(self.outbox, finals, winner, numbers.before, refit and refit[0])
        tell_tests(self.outbox, finals, measured, truth, program.task.metric, start_ms)
        tell_result(self.outbox, summary, start_ms + TURN_MS)
        self._keep(finals, winner, summary, program.task.loss_words)
        self._register(finals, winner, summary, program, refit)
        self.outbox.commit()
        return summary, finals.entrants[winner].trial

    @contextmanager
    def _on_split(self, split: int) -> Iterator[Executor]:
        """The executor with a split's rows; the first are the study's own."""
        if not split:
            yield self.executor
            return
        seed = derive_seed(self.config.search.seed, "split", split)
        folder = self.folder / "splits" / str(split)
        resample(self.folder / "data", folder, seed)
        with self._on(folder) as executor:
            yield executor

    @contextmanager
    def _on(self, folder: Path) -> Iterator[Executor]:
        """An executor on other rows of the study. That of the search has ended by then: both would need the cores."""
        if self.executor.workers:
            record_machine(self.folder, self.executor)
            self.executor.close()
        executor = start_executor(self.study, self.tell, data=folder)
        try:
            yield executor
        finally:
            executor.close()
            shutil.rmtree(folder.parent)  # they can be cut again

    def _refit(self, finals: Finals, winner: int, numbers: Numbers, start_ms: int) -> tuple[Trial, Weights] | None:
        """The winner trained on training and validation rows together; None where that diverged."""
        folder = self.folder / "splits" / "refit"
        join(self.folder / "data", folder)
        tags = self.describe(finals.entrants[winner].trial)
        with self._on(folder) as executor:
            final, weights = train_refit(self.config, finals, winner, executor, self.outbox, numbers, start_ms, tags)
        if final.reason is not None:
            self.tell(f"the refit {final.reason}: the champion is one of the finals")
            return None
        return final, weights

    def _program(self) -> Program:
        """The study's program, to predict with."""
        from regsearch.core.fit import build_program

        program = build_program(self.config, self.manifest, self.study.space.regularizers())
        if self.executor.width == 1:
            program.run_one_at_a_time(eager=self.executor.serial is not None)
        return program

    def _summarize(
        self,
        finals: Finals,
        winner: int,
        measured: list[Candidate | None],
        truth: Any,
        metric: str,
        missing: list[str],
    ) -> FinalsSummary:
        one, other = measured[winner], measured[finals.baseline]
        if one is None or other is None:
            raise UserError("at every seed of the finals a candidate diverged", allowed="lower the learning rate")
        others = [
            (entrant, candidate)
            for index, (entrant, candidate) in enumerate(zip(finals.entrants, measured, strict=True))
            if index not in (winner, finals.baseline)
        ]
        rest = [(entrant.all_roles(won=False)[0], candidate) for entrant, candidate in others if candidate is not None]
        seed = self.config.search.seed
        summary = summarize(one, other, truth, metric, seed=seed, splits=finals.splits, others=rest)
        told = {each.summary.label for each in summary.others}
        lost = [label for entrant, _ in others if (label := describe(entrant.trial.params)) not in told]
        lines = [f"{label or 'no regularization'} is left out: at every seed it diverged" for label in lost]
        could_win = sum(entrant.wins for entrant in finals.entrants) - 1
        if could_win > _FEW:
            lines.append(
                f"{could_win} settings could win, chosen by the finals that are tested: where none is any better, "
                f"up to {2.5 * could_win:g} % of studies would claim, not 2.5 %"
            )
        return replace(summary, missing=(*missing, *lines))

    def _keep(self, finals: Finals, winner: int, summary: FinalsSummary, loss_words: str) -> None:
        """The summary and the learning curves, here and with the parent run."""
        from regsearch.analysis.pictures import learning_curves

        out = self.folder / "finals"
        out.mkdir(exist_ok=True)
        own = (finals.of_split(index) for index in (winner, finals.baseline))
        ours, theirs = (_losses(group, self.config.train.epochs) for group in own)
        for path in learning_curves(ours, theirs, loss_words, out / "learning_curves"):
            self.outbox.append(Artifact("study", 0, str(path), "pictures"))
        write_json(out / "summary.json", summary.to_json())
        self.outbox.append(Artifact("study", 0, str(out / "summary.json"), "finals"))

    def _register(
        self,
        finals: Finals,
        winner: int,
        summary: FinalsSummary,
        program: Program,
        refit: tuple[Trial, Weights] | None,
    ) -> None:
        """Package the champion: the refit, or of the winner's finals on the study's own cut the one of median
        validation loss.
        """
        good = sorted(
            (final for final in finals.of_split(winner) if final.reason is None),
            key=lambda final: (kept(final)["val_loss"], final.number),
        )
        champion = good[(len(good) - 1) // 2]
        champion, weights = refit or (champion, finals.weights[champion.number])
        self.begin("registering")
        tags = {"regsearch.trial": str(finals.entrants[winner].trial.number)}
        tags |= {"regsearch.claim": str(summary.claim).lower()} | ({"regsearch.refit": "true"} if refit else {})
        packaging = self._packaging(program)
        packaging.champion("final", champion.number, champion.params, weights, tags)
        if self.config.tracking.models != "champion":
            packaging.keep_finals(finals)

    def _register_unfinalized(self, best: Trial) -> None:
        """Package the best trial of a search without finals, of which nobody knows how good it is on unseen rows."""
        self.begin("registering")
        for trial, weights in trained_again([best], self.executor, self.config.train.epochs):
            tags = {"regsearch.trial": str(best.number), "regsearch.unfinalized": "true"}
            self._packaging(self._program()).champion("trial", trial.number, trial.params, weights, tags)

    def _keep_trials(self, complete: list[Trial]) -> None:
        """Package every complete trial, where the study asks for that."""
        if self.config.tracking.models != "all":
            return
        packaging, epochs = self._packaging(self._program()), self.config.train.epochs
        if self.executor.workers:
            packaging.keep_trials(complete, self.executor, epochs)
            return
        executor = start_executor(self.study, self.tell)
        try:
            packaging.keep_trials(complete, executor, epochs)
        finally:
            executor.close()

    def _packaging(self, program: Program) -> Packaging:
        serial = self.executor.serial is not None
        return Packaging(program, self.folder, self.config.name, self.outbox, serial, self.tell)

    def _target(self) -> str | None:
        if self.manifest.task == "clustering":
            return "the standardised inputs"
        return None if self.manifest.target_scale is None else self.manifest.target

    def _sentence(self, summary: FinalsSummary | None, best: Trial | None, complete: list[Trial]) -> str:
        if summary is not None:
            return str(finals_answer(summary, target=self._target())["sentence"])
        if best is None or best.value is None:
            return "No trial ended with a value, so there is no answer; the failed trials say why."
        baseline = next((kept(trial)["val_loss"] for trial in complete if trial.number == 0), None)
        return skipped(len(complete), describe(best.params), kept(best)["val_loss"], baseline)

    def _picture_gaps(self, trials: list[Trial], winner: Trial | None) -> None:
        from regsearch.analysis.pictures import gap_against_loss

        rows = []
        for trial in trials:
            if not trial.reports or trial.state not in (TrialState.COMPLETE, TrialState.PRUNED):
                continue
            metrics = kept(trial)
            names = " + ".join(active_regularizers(trial.params, self.strengths)) or "none"
            measured = {name: metrics[name] for name in ("val_loss", "train_loss", "gap")}
            rows.append({"number": trial.number, "state": trial.state.value, "regularizers": names, **measured})
        if not rows:
            return
        out = self.folder / "finals"
        out.mkdir(exist_ok=True)
        number = winner.number if winner else None
        for path in gap_against_loss(pd.DataFrame(rows), out / "gap_against_loss", winner=number):
            self.outbox.append(Artifact("study", 0, str(path), "pictures"))


def _losses(finals: list[Trial], epochs: int) -> dict[str, list[list[float]]]:
    """Curves [S, E] of training and validation loss, NaN after an early end."""
    gone = [float("nan")] * epochs
    names = ("train_loss", "val_loss")
    return {name: [([r.metrics[name] for r in final.reports] + gone)[:epochs] for final in finals] for name in names}
