"""Run a study that is sealed and locked: search, conclude, deliver; started fresh or from where a kill left it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial

from regsearch.core.build import task_of
from regsearch.core.unpackable import ONE_AT_A_TIME
from regsearch.data import Manifest
from regsearch.driver.executor import StudyExecutors
from regsearch.driver.factory import make_driver
from regsearch.driver.plan import SearchResult
from regsearch.publish.notes import begun
from regsearch.regularizers import strength_knobs
from regsearch.search.storage import Storage, open_storage
from regsearch.space import active_regularizers
from regsearch.study.conclude import Conclusion
from regsearch.study.progress import Progress, Snapshot, Stop
from regsearch.study.snapshot import snapshot
from regsearch.study.usage import SearchUsage
from regsearch.system.files import write_json
from regsearch.tracking.log.outbox import Outbox
from regsearch.tracking.log.records import Dataset, StudyEnd, StudyStart
from regsearch.tracking.mlflow.writer_process import DRAIN_SECONDS, WriterHandle, not_taken, start_writer
from regsearch.trial import Trial, TrialState
from regsearch.workspace.answer import Answer
from regsearch.workspace.spec import StudySpec

_PHASES = {
    "starting": "starting the workers, compiling, measuring the pack width",
    "finals": "the candidates on fresh paired seeds",
    "registering": "packaging the champion",
    "delivering": "the rest of the records to MLflow",
}


class Interrupted(KeyboardInterrupt):
    """The study was stopped by hand; everything decided is on disk, `resume` goes on."""


class StudyRunner:
    """Run a study to its end.

    Args:
        stop: may ask the search to end early.
        timeout: seconds after which it is asked so, counted from `begun`.
        begun: when the command began, seconds since 1970.
    """

    def __init__(
        self, spec: StudySpec, stop: Stop, timeout: float | None, progress: Progress | None, begun: float
    ) -> None:
        self.spec, self.stop, self.timeout, self.progress, self.begun = spec, stop, timeout, progress, begun
        self.manifest = Manifest.load(spec.folder.data)
        self.space = spec.drawn_space(self.manifest)
        self.timing: dict[str, float] = {}
        self.now_ms = spec.created_ms
        self._strengths = strength_knobs()

    def run(self) -> Answer:
        """Search until all trials ended, hold finals, deliver everything, and give the answer.

        Raises:
            Interrupted: the study was asked to stop, or its time is up.
            UserError: the MLflow store did not take everything.
        """
        self._begin("starting")
        folder = self.spec.folder
        storage = open_storage(
            self.spec.config.search.storage, folder.journal, self.spec.name, self.spec.created_ms, self._say
        )
        with closing(storage):
            outbox = self._open_outbox()
            writer = start_writer(outbox.path, self.spec.uri, folder.artifacts)
            answer = self._work(storage, outbox, writer)
            self._deliver(outbox, writer)
            write_json(folder.answer, answer.to_json(full=True))
            storage.keep()
        return answer

    def _open_outbox(self) -> Outbox:
        outbox = Outbox(self.spec.folder.outbox)
        outbox.append(self._start_record())
        if outbox.status != "COMPLETE":  # one that has its answer keeps it while finals are held again
            outbox.append(begun(self.spec.config, self.manifest, task_of(self.manifest), self.spec.created_ms))
        if outbox.status == "INTERRUPTED":
            outbox.append(StudyEnd("RUNNING", self.now_ms))
        outbox.commit()
        return outbox

    def _work(self, storage: Storage, outbox: Outbox, writer: WriterHandle) -> Answer:
        executors = StudyExecutors(self.spec, self._say)
        with self._closing(outbox, writer, executors):
            result = self._search(executors, storage, outbox, writer)
            self._say_failed(result)
            conclusion = Conclusion(
                self.spec,
                self.manifest,
                self.space,
                executors,
                outbox,
                self._tags,
                self._say,
                self._begin,
                partial(self._await_store, writer),
            )
            answer = conclusion.answer(result, self.timing)
            writer.no_more()  # it delivers the rest while the workers end
        return answer

    @contextmanager
    def _closing(self, outbox: Outbox, writer: WriterHandle, executors: StudyExecutors) -> Iterator[None]:
        """Leave everything on disk and no process behind, however the work ends."""
        try:
            yield
        except KeyboardInterrupt:
            outbox.append(StudyEnd("INTERRUPTED", self.now_ms))
            outbox.commit()
            writer.drain(DRAIN_SECONDS)
            raise Interrupted(f"stopped; `regsearch study resume {self.spec.name}` goes on") from None
        except BaseException:
            writer.kill()
            raise
        finally:
            with ExitStack() as last:  # each of them, also where another fails: the disk may be full
                last.callback(outbox.close)
                last.callback(executors.close)

    def _search(
        self, executors: StudyExecutors, storage: Storage, outbox: Outbox, writer: WriterHandle
    ) -> SearchResult:
        executor = executors.own()
        if executor.serial:
            self._say(f"the model {ONE_AT_A_TIME}: {executor.serial}")
        self.timing["start"] = time.time() - self.begun
        driver = make_driver(self.spec, self.manifest, self.space, executor, outbox, storage, self._tags)
        for note in getattr(driver.search, "notes", ()):
            self._say(note)
        usage = SearchUsage(executor, writer)

        def show() -> None:
            if self.progress is not None:
                self.progress.show(snapshot(self.spec.name, driver, usage))

        def watch() -> bool:
            if self.progress is not None and self.progress.due():
                show()
            if not writer.alive():
                writer.refuse()
                if line := writer.begin_anew():
                    self._say(line)
            return not self.stop.requested and not self._timed_out()

        driver.run(watch)
        show()
        self.now_ms = driver.now_ms()
        self.timing |= usage.figures(driver)
        if not driver.done():
            raise Interrupted
        return driver.result()

    def _timed_out(self) -> bool:
        return self.timeout is not None and time.time() >= self.begun + self.timeout

    def _deliver(self, outbox: Outbox, writer: WriterHandle) -> None:
        start = time.time()
        self._begin("delivering")
        if not writer.drain(DRAIN_SECONDS):
            writer.refuse()
            raise not_taken(writer, self.spec.uri)
        self._say_news(writer)
        if refused := writer.status().refused:
            log = outbox.path.with_suffix(".log")
            self._say(f"the MLflow store refused {refused} of the records for what they hold; {log} says why")
        self.timing |= {"deliver": time.time() - start, "total": time.time() - self.begun}

    def _await_store(self, writer: WriterHandle) -> None:
        """Refuse a store that would not take the finals, and have what it lost written again."""
        writer.await_store(DRAIN_SECONDS)
        self._say_news(writer)

    def _say_news(self, writer: WriterHandle) -> None:
        for line in writer.news():
            self._say(line)

    def _start_record(self) -> StudyStart:
        config, manifest = self.spec.config, self.manifest
        params = {
            "data.source": manifest.source,
            "task": manifest.task,
            "model": config.model.name or config.model.factory,
            **{f"train.{name}": value for name, value in config.train.model_dump().items()},
            **{f"search.{name}": getattr(config.search, name) for name in ("engine", "trials", "parallel", "seed")},
            **self._engine(),
        }
        data = Dataset(
            config.name, manifest.source, manifest.digest, manifest.sizes["train"], math.prod(manifest.inputs)
        )
        method = {} if config.tracking.method is None else {"regsearch.method": config.tracking.method}
        digests = {"regsearch.digest": manifest.digest, "regsearch.test_digest": manifest.test_digest}
        return StudyStart(config.name, params, {**digests, **method}, self.spec.created_ms, data)

    def _engine(self) -> dict[str, str]:
        search = self.spec.config.search
        if search.engine == "ray_tune":
            return {"search.algorithm": search.algorithm_name, "search.scheduler": search.scheduler_name}
        return {"search.sampler": search.sampler, "search.pruner": search.pruner_name}

    def _tags(self, trial: Trial) -> dict[str, str]:
        return {"regsearch.regularizers": "+".join(active_regularizers(trial.params, self._strengths)) or "none"}

    def _say(self, line: str) -> None:
        if self.progress is not None:
            self.progress.say(line)

    def _begin(self, phase: str) -> None:
        if self.progress is not None:
            total, message = self.spec.config.search.trials, _PHASES.get(phase, "")
            self.progress.show(Snapshot(study=self.spec.name, phase=phase, message=message, total=total))

    def _say_failed(self, result: SearchResult) -> None:
        failed = [trial for trial in result.trials.values() if trial.state is TrialState.FAIL]
        if failed:
            first = f"trial {failed[0].number} {failed[0].reason or 'gave no reason'}"
            self._say(f"{len(failed)} of {len(result.trials)} trials failed; {first}")
