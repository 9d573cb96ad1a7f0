"""One stretch of work on a study: search, finals, champion, answer; started fresh or from where a kill left it."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from typing import Any

import pandas as pd

from regsearch.analysis.comparison import FinalsSummary
from regsearch.analysis.report import answer as finals_answer
from regsearch.analysis.report import describe, skipped
from regsearch.answer import Answer
from regsearch.books import TURN_MS, Books
from regsearch.core.fit import task_of
from regsearch.data import Manifest, decisions
from regsearch.description import answered, begun
from regsearch.display import Progress, Snapshot
from regsearch.errors import UserError
from regsearch.executors.base import Executor
from regsearch.finals import Finals, kept, package_champion, test_finals, train_finals, write_json
from regsearch.machine import record_machine, start_executor
from regsearch.regularizers import all_regularizers
from regsearch.search.storage import Storage, open_storage
from regsearch.searching import make_driver
from regsearch.space import active_regularizers
from regsearch.study import Study
from regsearch.tracking.client import start_writer
from regsearch.tracking.outbox import Outbox
from regsearch.tracking.protocol import Artifact, Dataset, Model, StudyEnd, StudyStart
from regsearch.trial import Trial, TrialState

DRAIN_SECONDS = 120.0
_PHASES = {
    "starting": "starting the workers, compiling, measuring the pack width",
    "finals": "winner and baseline on fresh paired seeds",
    "registering": "packaging the champion",
    "delivering": "the rest of the records to MLflow",
}


class Interrupted(KeyboardInterrupt):
    """The study was stopped by hand; everything decided is on disk, `resume` goes on."""


class Run:
    """Works on a study that is sealed and locked."""

    def __init__(self, study: Study, timeout: float | None, progress: Progress | None, begun: float) -> None:
        self.study, self.config, self.folder = study, study.config, study.folder
        self.timeout, self.progress, self.begun = timeout, progress, begun
        self.manifest = Manifest.load(self.folder / "data")
        self.strengths = [rule.strength_knob for rule in all_regularizers().values()]
        self.seconds: dict[str, float] = {}
        self.start_ms = self.now_ms = study.created_ms or 0

    def to_the_end(self) -> Answer:
        """Search until all trials ended, hold finals, deliver everything, and give the answer.

        Raises:
            Interrupted: the study was asked to stop, or its time is up.
        """
        self._say(phase="starting")
        address, journal = self.config.search.storage, self.folder / "search.journal"
        with closing(open_storage(address, journal, self.config.name, self.start_ms, self._tell)) as storage:
            answer = self._work(storage)
            storage.keep()
        return answer

    def _work(self, storage: Storage) -> Answer:
        outbox = Outbox(self.folder / "outbox.jsonl")
        outbox.append(self._start_record())
        outbox.append(begun(self.config, self.manifest, task_of(self.manifest), self.start_ms))
        if outbox.status == "INTERRUPTED":
            outbox.append(StudyEnd("RUNNING", self.now_ms))
        outbox.commit()
        writer = start_writer(outbox.path, self.study.uri, self.study.root / "artifacts")
        executor = None
        try:
            executor = start_executor(self.study, self._tell)
            record_machine(self.folder, executor)
            if executor.serial:
                self._tell(f"the model cannot be packed and trains one trial at a time: {executor.serial}")
            self.seconds["start"] = time.time() - self.begun
            driver = self._search(executor, storage, outbox, writer)
            if any(not trial.state.ended for trial in driver.trials.values()) or len(driver.trials) < driver.total:
                raise Interrupted
            self._say_failed(driver)
            answer = self._answer(driver, executor, outbox)
        except KeyboardInterrupt:
            outbox.append(StudyEnd("INTERRUPTED", self.now_ms))
            outbox.commit()
            writer.drain(DRAIN_SECONDS)
            raise Interrupted(f"stopped; `regsearch study resume {self.config.name}` goes on") from None
        except BaseException:
            writer.kill()
            raise
        finally:
            with ExitStack() as last:  # each of them, also where another fails: the disk may be full
                last.callback(outbox.close)
                if executor is not None:
                    last.callback(executor.close)
                    record_machine(self.folder, executor)
        start = time.time()
        self._say(phase="delivering")
        if not writer.drain(DRAIN_SECONDS):
            raise UserError(
                f"the MLflow store did not take everything: {writer.status().error or 'it does not answer'}",
                key="tracking.uri",
                value=self.study.uri,
                allowed=f"`regsearch study resume {self.config.name}` delivers the rest",
            )
        if refused := writer.status().refused:
            log = outbox.path.with_suffix(".log")
            self._tell(f"the MLflow store refused {refused} of the records for what they hold; {log} says why")
        self.seconds |= {"deliver": time.time() - start, "total": time.time() - self.begun}
        write_json(self.folder / "answer.json", answer.to_json(full=True))
        return answer

    def _start_record(self) -> StudyStart:
        config, manifest = self.config, self.manifest
        params = {
            "data.source": manifest.source,
            "task": manifest.task,
            "model": config.model.name or config.model.factory,
            **{f"train.{name}": value for name, value in config.train.model_dump().items()},
            **{f"search.{name}": getattr(config.search, name) for name in ("engine", "trials", "parallel", "seed")},
            **self._engine(),
        }
        features = 1
        for size in manifest.inputs:
            features *= size
        data = Dataset(config.name, manifest.source, manifest.digest, manifest.sizes["train"], features)
        return StudyStart(config.name, params, {"regsearch.digest": manifest.digest}, self.start_ms, data)

    def _engine(self) -> dict[str, str]:
        search = self.config.search
        if search.engine == "ray_tune":
            return {"search.algorithm": search.algorithm_name, "search.scheduler": search.scheduler_name}
        return {"search.sampler": search.sampler, "search.pruner": search.pruner_name}

    def _tell(self, line: str) -> None:
        if self.progress is not None:
            self.progress.say(line)

    def _search(self, executor: Executor, storage: Storage, outbox: Outbox, writer: Any) -> Books[Any]:
        objectives = self.config.search.objectives
        from regsearch.tasks import TASKS

        higher = {f"{part}_{name}" for part in ("train", "val") for name in TASKS[self.manifest.task].higher}
        directions = ["maximize" if name in higher else "minimize" for name in objectives]
        driver = make_driver(
            self.study,
            self.manifest,
            executor,
            outbox,
            storage,
            directions,
            start_ms=self.start_ms,
            describe=self._tags,
        )
        before, cpu, writer_cpu = executor.settle(), time.process_time(), writer.status().cpu.get("delivery", 0.0)
        start = time.time()
        deadline = None if self.timeout is None else self.begun + self.timeout

        def watch(driver: Books[Any]) -> bool:
            self._say_search(driver, executor, start)
            return not self.study.stop and (deadline is None or time.time() < deadline)

        driver.run(watch)
        self.now_ms = driver.now_ms()
        wall = time.time() - start
        spent = {name: value - before[name] for name, value in executor.spent().items()}
        outside = time.process_time() - cpu + writer.status().cpu.get("delivery", 0.0) - writer_cpu
        outside += max(0.0, spent["cpu"] - spent["pack"])
        whole = outside + spent["pack"]
        self.seconds |= {
            "search": wall,
            **{f"driver_{part}": getattr(driver.timing, part) for part in driver.timing.parts},
            "pack_cpu": spent["pack"],
            "outside_cpu": outside,
            "outside_cpu_share": outside / whole if whole else 0.0,
            "waited_share": spent["waited"] / (wall * executor.workers) if wall else 0.0,
            "idle_share": spent["idle"] / (wall * executor.workers) if wall else 0.0,
            "trial_steps_per_second": spent["steps"] / wall if wall else 0.0,
        }
        return driver

    def _answer(self, driver: Books[Any], executor: Executor, outbox: Outbox) -> Answer:
        trials = list(driver.trials.values())
        complete = [trial for trial in trials if trial.state is TrialState.COMPLETE and trial.value is not None]
        best = driver.best()
        summary, opened, winner = None, 0, best
        start = time.time()
        if best is not None and self.config.finalize.seeds and driver.trials[0] in complete:
            self._say(phase="finals")
            ranked = [trial for trial in driver.ranked() if trial.number]
            candidates = [*ranked[: self.config.finalize.top], driver.trials[0]]
            finals = train_finals(self.config, executor, outbox, candidates, driver.now_ms(), self._tags)
            summary, winner = self._test(finals, outbox, executor)
            opened = decisions(self.study.root / "ledger", self.manifest.test_digest)
        self._picture_gaps(trials, winner, outbox)
        sentence = self._sentence(summary, best, complete)
        outbox.append(answered(self.config, sentence, trials, winner, summary, opened))
        outbox.append(StudyEnd("COMPLETE", driver.now_ms() + TURN_MS))
        outbox.commit()
        self.seconds["finals"] = time.time() - start
        counts = {state: sum(trial.state is state for trial in trials) for state in TrialState}
        return Answer(
            study=self.config.name,
            complete=counts[TrialState.COMPLETE],
            pruned=counts[TrialState.PRUNED],
            failed=counts[TrialState.FAIL],
            best=None if best is None else {"number": best.number, "value": best.value, "params": best.params},
            pack={"width": executor.width, "workers": executor.workers},
            finals=None if summary is None else finals_answer(summary, target=self._target()),
            sentence=sentence,
            test_opened=opened,
            timing=self.seconds,
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
        baseline = next((trial.value for trial in complete if trial.number == 0), None)
        return skipped(len(complete), describe(best.params), best.value, baseline)

    def _test(self, finals: Finals, outbox: Outbox, executor: Executor) -> tuple[FinalsSummary, Trial]:
        from regsearch.analysis.pictures import learning_curves
        from regsearch.core.fit import build_program

        program = build_program(self.config, self.manifest, self.study.space.regularizers())
        if executor.width == 1:
            program.run_one_at_a_time(eager=executor.serial is not None)
        ledger = self.study.root / "ledger"
        summary, index = test_finals(self.config, program, finals, self.folder, ledger)
        out = self.folder / "finals"
        out.mkdir(exist_ok=True)
        base = next(i for i, candidate in enumerate(finals.candidates) if candidate.number == 0)
        ours, theirs = (_losses(finals.trials[i], self.config.train.epochs) for i in (index, base))
        for path in learning_curves(ours, theirs, program.task.loss_words, out / "learning_curves"):
            outbox.append(Artifact("study", 0, str(path), "pictures"))
        write_json(out / "summary.json", summary.to_json())
        outbox.append(Artifact("study", 0, str(out / "summary.json"), "finals"))
        good = sorted(
            (f for f in finals.trials[index] if f.reason is None), key=lambda f: (kept(f)["val_loss"], f.number)
        )
        champion = good[(len(good) - 1) // 2]
        self._say(phase="registering")
        weights = finals.weights[champion.number]
        tags = {"regsearch.trial": str(finals.candidates[index].number), "regsearch.claim": str(summary.claim).lower()}
        try:
            package_champion(program, self.folder / "data", weights, champion.params, out / "champion")
        except Exception as error:
            if executor.serial is None:
                raise
            # What keeps a model from being packed mostly keeps it from being exported too.
            self._tell(f"no champion is registered, torch cannot export the model: {type(error).__name__}")
        else:
            outbox.append(Model(str(out / "champion"), self.config.name, "champion", "final", champion.number, tags))
        outbox.commit()
        return summary, finals.candidates[index]

    def _picture_gaps(self, trials: list[Trial], winner: Trial | None, outbox: Outbox) -> None:
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
            outbox.append(Artifact("study", 0, str(path), "pictures"))

    def _tags(self, trial: Trial) -> dict[str, str]:
        return {"regsearch.regularizers": "+".join(active_regularizers(trial.params, self.strengths)) or "none"}

    def _say(self, phase: str) -> None:
        if self.progress is not None:
            total = self.config.search.trials
            self.progress.show(
                Snapshot(study=self.config.name, phase=phase, message=_PHASES.get(phase, ""), total=total)
            )

    def _say_failed(self, driver: Books[Any]) -> None:
        failed = [trial for trial in driver.trials.values() if trial.state is TrialState.FAIL]
        if failed:
            first = f"trial {failed[0].number} {failed[0].reason or 'gave no reason'}"
            self._tell(f"{len(failed)} of {driver.total} trials failed; {first}")

    def _say_search(self, driver: Books[Any], executor: Executor, start: float) -> None:
        if self.progress is None or not self.progress.due():
            return
        trials = driver.trials.values()
        counts = {state: sum(trial.state is state for trial in trials) for state in TrialState}
        best = driver.best()
        elapsed = time.time() - start
        ended = sum(counts[state] for state in TrialState if state.ended)
        self.progress.show(
            Snapshot(
                study=self.config.name,
                phase="search",
                total=driver.total,
                complete=counts[TrialState.COMPLETE],
                pruned=counts[TrialState.PRUNED],
                failed=counts[TrialState.FAIL],
                running=counts[TrialState.RUNNING],
                waiting=driver.total - ended - counts[TrialState.RUNNING],
                objective=driver.objective[0],
                best_value=best.value if best else None,
                best_number=best.number if best else None,
                best_params=best.params if best else {},
                baseline_value=driver.trials[0].value,
                width=executor.width,
                workers=executor.workers,
                occupancy=counts[TrialState.RUNNING] / executor.lanes,
                trial_steps_per_second=executor.spent()["steps"] / elapsed if elapsed else 0.0,
                elapsed=elapsed,
                eta=elapsed * (driver.total - ended) / ended if ended else None,
            )
        )


def _losses(finals: list[Trial], epochs: int) -> dict[str, list[list[float]]]:
    """Curves [S, E] of training and validation loss, NaN after an early end."""
    gone = [float("nan")] * epochs
    names = ("train_loss", "val_loss")
    return {name: [([r.metrics[name] for r in final.reports] + gone)[:epochs] for final in finals] for name in names}
