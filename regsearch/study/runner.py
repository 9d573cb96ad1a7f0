"""One stretch of work on a study: search, finals, champion, answer; started fresh or from where a kill left it."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from typing import Any

from regsearch.core.build import task_of
from regsearch.data import Manifest
from regsearch.driver.base import Books
from regsearch.driver.executor import start_executor
from regsearch.driver.factory import make_driver
from regsearch.errors import UserError
from regsearch.executors.executor import Executor
from regsearch.publish.notes import begun
from regsearch.regularizers import all_regularizers
from regsearch.search.storage import Storage, open_storage
from regsearch.space import active_regularizers
from regsearch.study.conclude import Ending
from regsearch.study.progress import Progress, Snapshot
from regsearch.study.study import Study
from regsearch.system.files import write_json
from regsearch.tracking.log.outbox import Outbox
from regsearch.tracking.log.records import Dataset, StudyEnd, StudyStart
from regsearch.tracking.mlflow.writer_process import start_writer
from regsearch.trial import Trial, TrialState
from regsearch.workspace.answer import Answer
from regsearch.workspace.machine import record_machine

DRAIN_SECONDS = 120.0
_PHASES = {
    "starting": "starting the workers, compiling, measuring the pack width",
    "finals": "the candidates on fresh paired seeds",
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
        if outbox.status != "COMPLETE":  # one that has its answer keeps it while finals are held again
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
            ending = Ending(self.study, self.manifest, executor, outbox, self._tags, self._tell, self._say)
            answer = ending.answer(driver, self.seconds)
            writer.no_more()  # it delivers the rest while the workers end
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
                    if executor.workers:  # finals on other rows close it before the end
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
        method = {} if config.tracking.method is None else {"regsearch.method": config.tracking.method}
        digests = {"regsearch.digest": manifest.digest, "regsearch.test_digest": manifest.test_digest}
        tags = {**digests, **method}
        return StudyStart(config.name, params, tags, self.start_ms, data)

    def _engine(self) -> dict[str, str]:
        search = self.config.search
        if search.engine == "ray_tune":
            return {"search.algorithm": search.algorithm_name, "search.scheduler": search.scheduler_name}
        return {"search.sampler": search.sampler, "search.pruner": search.pruner_name}

    def _tell(self, line: str) -> None:
        if self.progress is not None:
            self.progress.say(line)

    def _search(self, executor: Executor, storage: Storage, outbox: Outbox, writer: Any) -> Books[Any]:
        driver = make_driver(
            self.study,
            self.manifest,
            executor,
            outbox,
            storage,
            start_ms=self.start_ms,
            describe=self._tags,
        )
        for note in getattr(driver.search, "notes", ()):
            self._tell(note)
        before = executor.measure_usage()
        cpu, writer_cpu = time.process_time(), writer.status().cpu.get("delivery", 0.0)
        start = time.time()
        deadline = None if self.timeout is None else self.begun + self.timeout

        def watch(driver: Books[Any]) -> bool:
            self._say_search(driver, executor, start)
            return not self.study.stop and (deadline is None or time.time() < deadline)

        driver.run(watch)
        self.now_ms = driver.now_ms()
        wall = time.time() - start
        spent = executor.usage() - before
        outside = time.process_time() - cpu + writer.status().cpu.get("delivery", 0.0) - writer_cpu
        outside += max(0.0, spent.cpu - spent.pack)
        whole = outside + spent.pack
        self.seconds |= {
            "search": wall,
            **{f"driver_{part}": getattr(driver.timing, part) for part in driver.timing.parts},
            "pack_cpu": spent.pack,
            "outside_cpu": outside,
            "outside_cpu_share": outside / whole if whole else 0.0,
            "waited_share": spent.waited / (wall * executor.workers) if wall else 0.0,
            "idle_share": spent.idle / (wall * executor.workers) if wall else 0.0,
            "trial_steps_per_second": spent.steps / wall if wall else 0.0,
        }
        return driver

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
                trial_steps_per_second=executor.usage().steps / elapsed if elapsed else 0.0,
                elapsed=elapsed,
                eta=elapsed * (driver.total - ended) / ended if ended else None,
            )
        )
