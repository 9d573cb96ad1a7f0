"""How a study ends: its finals, their test, pictures and champion, and the answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pandas as pd

from regsearch.analysis.comparison import FinalsSummary
from regsearch.analysis.report import answer as finals_answer
from regsearch.analysis.report import describe, skipped
from regsearch.answer import Answer
from regsearch.books import TURN_MS, Books
from regsearch.data import Manifest, decisions
from regsearch.executors.base import Executor
from regsearch.finals import Finals, kept, package_champion, test_finals, train_finals, write_json
from regsearch.front import front_rows, keep_front, kept_constraints, remark
from regsearch.importance import keep_importance
from regsearch.regularizers import all_regularizers
from regsearch.space import active_regularizers
from regsearch.study import Study
from regsearch.tracking.outbox import Outbox
from regsearch.tracking.protocol import Artifact, Model, Note, StudyEnd
from regsearch.trial import Trial, TrialState


class Ending:
    """What comes after the search of a study.

    Args:
        describe: the tags of a trial's run.
        tell: is told in a line what a user should know of.
        begin: is told which phase begins.
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
    ) -> None:
        self.study, self.config, self.folder, self.manifest = study, study.config, study.folder, manifest
        self.executor, self.outbox = executor, outbox
        self.describe, self.tell, self.begin = describe, tell, begin
        self.strengths = [rule.strength_knob for rule in all_regularizers().values()]

    def answer(self, driver: Books[Any], seconds: dict[str, float]) -> Answer:
        """Hold the finals of a search that has ended, and give the answer; `seconds` gets what they took."""
        trials = list(driver.trials.values())
        complete = [trial for trial in trials if trial.state is TrialState.COMPLETE and trial.value is not None]
        best = driver.best()
        summary, opened, winner = None, 0, best
        start = time.time()
        if best is not None and self.config.finalize.seeds and driver.trials[0] in complete:
            self.begin("finals")
            ranked = [trial for trial in driver.ranked() if trial.number]
            candidates = [*ranked[: self.config.finalize.top], driver.trials[0]]
            finals = train_finals(self.config, self.executor, self.outbox, candidates, driver.now_ms(), self.describe)
            summary, winner = self._test(finals)
            opened = decisions(self.study.root / "ledger", self.manifest.test_digest)
        self._picture_gaps(trials, winner)
        keep_front(driver, self.folder / "finals", self.outbox)
        keep_importance(trials, self.study.space, self.folder / "finals", self.outbox)
        sentence = self._sentence(summary, best, complete) + remark(driver)
        note = f"**{sentence}**\n\nTest opened {_times(opened)}." if summary else f"**{sentence}**"
        self.outbox.append(Note({"mlflow.note.content": note, "regsearch.answer": sentence[:480]}))
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
            pack={"width": self.executor.width, "workers": self.executor.workers},
            finals=None if summary is None else finals_answer(summary, target=self._target()),
            sentence=sentence,
            test_opened=opened,
            timing=seconds,
            front=front_rows(driver),
            constraints=kept_constraints(driver),
        )

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

    def _test(self, finals: Finals) -> tuple[FinalsSummary, Trial]:
        from regsearch.analysis.pictures import learning_curves
        from regsearch.core.fit import build_program

        program = build_program(self.config, self.manifest, self.study.space.regularizers())
        if self.executor.width == 1:
            program.run_one_at_a_time(eager=self.executor.serial is not None)
        ledger = self.study.root / "ledger"
        summary, index = test_finals(self.config, program, finals, self.folder, ledger)
        out = self.folder / "finals"
        out.mkdir(exist_ok=True)
        base = next(i for i, candidate in enumerate(finals.candidates) if candidate.number == 0)
        ours, theirs = (_losses(finals.trials[i], self.config.train.epochs) for i in (index, base))
        for path in learning_curves(ours, theirs, program.task.loss_words, out / "learning_curves"):
            self.outbox.append(Artifact("study", 0, str(path), "pictures"))
        write_json(out / "summary.json", summary.to_json())
        self.outbox.append(Artifact("study", 0, str(out / "summary.json"), "finals"))
        good = sorted(
            (f for f in finals.trials[index] if f.reason is None), key=lambda f: (kept(f)["val_loss"], f.number)
        )
        champion = good[(len(good) - 1) // 2]
        self.begin("registering")
        weights = finals.weights[champion.number]
        tags = {"regsearch.trial": str(finals.candidates[index].number), "regsearch.claim": str(summary.claim).lower()}
        try:
            package_champion(program, self.folder / "data", weights, champion.params, out / "champion")
        except Exception as error:
            if self.executor.serial is None:
                raise
            # What keeps a model from being packed mostly keeps it from being exported too.
            self.tell(f"no champion is registered, torch cannot export the model: {type(error).__name__}")
        else:
            self.outbox.append(
                Model(str(out / "champion"), self.config.name, "champion", "final", champion.number, tags)
            )
        self.outbox.commit()
        return summary, finals.candidates[index]

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


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _losses(finals: list[Trial], epochs: int) -> dict[str, list[list[float]]]:
    """Curves [S, E] of training and validation loss, NaN after an early end."""
    gone = [float("nan")] * epochs
    names = ("train_loss", "val_loss")
    return {name: [([r.metrics[name] for r in final.reports] + gone)[:epochs] for final in finals] for name in names}
