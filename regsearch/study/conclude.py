"""Conclude a study whose search has ended: hold its finals, publish what they showed, and give the answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from regsearch.analysis.finals_words import answer as finals_answer
from regsearch.analysis.finals_words import describe, skipped
from regsearch.data import Manifest, opened
from regsearch.driver.executor import StudyExecutors
from regsearch.driver.plan import TURN_MS, SearchResult
from regsearch.driver.ranking import constraint_counts, constraint_remark, front_rows
from regsearch.finals.hold import FinalsResult, hold_finals
from regsearch.finals.train import Tags
from regsearch.publish.champion import Packager
from regsearch.publish.importance import keep_importance
from regsearch.publish.notes import answered
from regsearch.publish.pictures import keep_finals, keep_front, keep_gaps
from regsearch.publish.report import add_report
from regsearch.space import SearchSpace
from regsearch.tracking.log.outbox import Outbox
from regsearch.tracking.log.records import StudyEnd
from regsearch.trial import TrialState
from regsearch.workspace.answer import Answer
from regsearch.workspace.spec import StudySpec

if TYPE_CHECKING:
    from regsearch.core.program import Program


@dataclass(frozen=True)
class Conclusion:
    """Conclude one study.

    Args:
        space: what trials were drawn from, over the layers of the model.
        executors: those of the study; the search's is closed where finals need other rows.
        tags: of a trial's run.
        say: is told in a line what a user should know of.
        begin: is told which phase begins.
        ready: is called before the test is opened, and refuses a store that would not take what it shows.
    """

    spec: StudySpec
    manifest: Manifest
    space: SearchSpace
    executors: StudyExecutors
    outbox: Outbox
    tags: Tags
    say: Callable[[str], None]
    begin: Callable[[str], None]
    ready: Callable[[], None]

    def answer(self, result: SearchResult, timing: dict[str, float]) -> Answer:
        """Hold the finals of a search that has ended, publish, and give the answer; `timing` gets what they took."""
        start = time.time()
        pack = {"width": self.executors.width, "workers": self.executors.own().workers}
        finals = self._finals(result)
        sentence = self._sentence(result, finals) + constraint_remark(result)
        self._publish(result, finals, sentence)
        timing["finals"] = time.time() - start
        best = result.best
        return Answer(
            study=self.spec.name,
            complete=result.count(TrialState.COMPLETE),
            pruned=result.count(TrialState.PRUNED),
            failed=result.count(TrialState.FAIL),
            best=None if best is None else {"number": best.number, "value": best.value, "params": best.params},
            pack=pack,
            finals=None if finals is None else finals_answer(finals.summary, target=self._target()),
            sentence=sentence,
            timing=timing,
            front=front_rows(result),
            constraints=constraint_counts(result),
        ).after(opened(self.spec.folder.ledger, self.manifest.test_digest))

    def _finals(self, result: SearchResult) -> FinalsResult | None:
        """The finals with their champion registered; None where there are none."""
        finals, models = None, self.spec.config.tracking.models
        if result.best is not None and not self.spec.config.finalize.seeds:
            self.begin("registering")
            self._packager(self._program()).register_unfinalized(result.best)
        elif result.best is not None and result.baseline in result.complete:
            finals = self._hold_finals(result)
        if models == "all":
            self._packager(self._program()).log_trials(result.complete)
        return finals

    def _hold_finals(self, result: SearchResult) -> FinalsResult:
        self.begin("finals")
        program = self._program()
        finals = hold_finals(
            self.spec,
            result,
            self.space,
            program,
            self.executors,
            self.outbox,
            self.tags,
            self.say,
            self.ready,
        )
        epochs, folder = self.spec.config.train.epochs, self.spec.folder.finals
        keep_finals(finals, epochs, program.task.loss_words, folder, self.outbox)
        self.begin("registering")
        self._packager(program).register_finals(finals)
        self.outbox.commit()
        return finals

    def _publish(self, result: SearchResult, finals: FinalsResult | None, sentence: str) -> None:
        """Pictures, importance, descriptions and the report, all that the store is told at the end."""
        folder, trials = self.spec.folder.finals, list(result.trials.values())
        winner = result.best if finals is None else finals.trial
        with self._closing():
            keep_gaps(trials, winner, folder, self.outbox)
            keep_front(result, folder, self.outbox)
            keep_importance(trials, self.spec.space, folder, self.outbox)
        openings = opened(self.spec.folder.ledger, self.manifest.test_digest)
        summary = None if finals is None else finals.summary
        self.outbox.append(answered(self.spec.config, sentence, trials, winner, summary, openings))
        add_report(self.spec, self.outbox, sentence, self.say)
        self.outbox.append(StudyEnd("COMPLETE", result.now_ms + TURN_MS))
        self.outbox.commit()

    @contextmanager
    def _closing(self) -> Iterator[None]:
        """End the workers meanwhile: nothing more is trained."""
        thread = threading.Thread(target=self.executors.close, name="closing")
        thread.start()
        try:
            yield
        finally:
            thread.join()

    def _program(self) -> Program:
        """The study's program, to predict with."""
        from regsearch.core.build import build_program

        program = build_program(self.spec.config, self.manifest, self.spec.space)
        if self.executors.width == 1:
            program.run_one_at_a_time(eager=self.executors.serial is not None)
        return program

    def _packager(self, program: Program) -> Packager:
        return Packager(self.spec, program, self.executors, self.outbox, self.say)

    def _target(self) -> str | None:
        if self.manifest.task == "clustering":
            return "the standardised inputs"
        return None if self.manifest.target_scale is None else self.manifest.target

    def _sentence(self, result: SearchResult, finals: FinalsResult | None) -> str:
        if finals is not None:
            return str(finals_answer(finals.summary, target=self._target())["sentence"])
        best, complete = result.best, result.complete
        if best is None or best.value is None:
            return "No trial ended with a value, so there is no answer; the failed trials say why."
        baseline = next((trial.kept()["val_loss"] for trial in complete if trial.number == 0), None)
        return skipped(len(complete), describe(best.params), best.kept()["val_loss"], baseline)
