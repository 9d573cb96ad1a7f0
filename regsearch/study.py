"""A study from its file to its answer: the objects that the command line and Python users share."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regsearch.answer import Answer
from regsearch.config import StudyConfig, build_space, check_measures, check_name, load_config, measures, train_knobs
from regsearch.display import Snapshot
from regsearch.errors import UserError
from regsearch.guard import guarded
from regsearch.locks import aside, hold
from regsearch.space import SearchSpace
from regsearch.stores import at_store, check_stores, forget, keep_store, read_study, write_study
from regsearch.tracking.tensorboard import check_tensorboard, event_files, remove_event_files

if TYPE_CHECKING:
    import pandas as pd

    from regsearch.core.cost import Cost
    from regsearch.data import Manifest
    from regsearch.display import Progress
    from regsearch.replay import Replay
    from regsearch.standing import Standing


def home() -> Path:
    """Where state lives: REGSEARCH_HOME, else `mlruns` under the working directory."""
    return Path(os.environ.get("REGSEARCH_HOME") or "mlruns").absolute()


class Study:
    """One search: data, model, space, budget.

    Args:
        config: the study file, read and checked.
        created_ms: when it began, milliseconds since 1970; None for one that has not begun.
        ray: the Ray cluster that trains its packs, see `regsearch.executors.ray.RayExecutor`; None for this machine.
    """

    def __init__(self, config: StudyConfig, created_ms: int | None = None, ray: str | None = None) -> None:
        self.config, self.created_ms = config, created_ms
        self.ray = ray or ("local" if config.search.engine == "ray_tune" else None)
        self.root = home()
        self.folder = self.root / "studies" / config.name
        self.stop = False
        self._space: SearchSpace | None = None

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        *,
        trials: int | None = None,
        seed: int | None = None,
        tracking_uri: str | None = None,
        device: str | None = None,
        storage: str | None = None,
        ray: str | None = None,
    ) -> Study:
        """The study that a YAML file describes; the arguments override what it says.

        Raises:
            UserError: the file, or a value that is given in its place.
        """
        given = {"trials": trials, "seed": seed, "tracking_uri": tracking_uri, "device": device, "storage": storage}
        return cls(load_config(path, **given), ray=ray)  # type: ignore[arg-type]

    def with_tensorboard(self, folder: str | None) -> Study:
        """This study, its curves written for TensorBoard below `folder` too; None leaves it as its file says."""
        if folder is not None:
            tracking = self.config.tracking.model_copy(update={"tensorboard": str(Path(folder).absolute())})
            self.config = self.config.model_copy(update={"tracking": tracking})
        return self

    @classmethod
    def open(cls, name: str, ray: str | None = None) -> Study:
        """The study that was started under `name`.

        Raises:
            UserError: there is none.
        """
        check_name(name)
        file = home() / "studies" / name / "study.json"
        if not file.exists():
            known = ", ".join(sorted(each["name"] for each in cls.list())) or "none"
            raise UserError("no such study", key="NAME", value=name, allowed=f"there are: {known}")
        saved = read_study(file.parent)
        return cls(StudyConfig.from_json(json.dumps(saved["config"])), saved["created_ms"], ray)

    @staticmethod
    def list() -> list[dict[str, Any]]:
        """Every study begun here: name, when it began, whether it has its answer."""
        found = []
        for file in sorted((home() / "studies").glob("[!.]*/study.json")):
            saved = json.loads(file.read_text())
            config, done = saved["config"], (file.parent / "answer.json").exists()
            row = {"name": config["name"], "created_ms": saved["created_ms"], "finished": done}
            found.append({**row, "trials": config["search"]["trials"], "source": config["data"]["source"]})
        return found

    @property
    def uri(self) -> str:
        from regsearch.tracking.store import tracking_uri

        return tracking_uri(self.config.tracking.uri, self.root)

    @property
    def space(self) -> SearchSpace:
        """The settings this study may try."""
        if self._space is None:
            from regsearch.regularizers import knobs

            train = self.config.train
            known = train_knobs(train.optimizer)
            self._space = build_space(self.config.space, knobs(), train_knobs=known, train=train.knobs())
        return self._space

    def drawn(self, manifest: Manifest) -> SearchSpace:
        """The space over the layers of the study's model, where it asks for a strength in each: what trials draw."""
        if not self.space.per_layer():
            return self.space
        from regsearch.core.fit import build_program

        return self.space.over(build_program(self.config, manifest, self.space.regularizers()).layers)

    def check(self) -> dict[str, Any]:
        """Check everything a run would need, data and model included, and write nothing.

        Raises:
            UserError: what would be refused.
        """
        check_stores(self.config, self.uri, self._known())
        check_tensorboard(self.config.tracking.tensorboard)
        self._check_search()
        with self.sealed_for_now() as (manifest, _):
            layers = self._check_model(manifest)
        return {
            "study": self.config.name,
            "data": {"source": manifest.source, "task": manifest.task, "rows": manifest.sizes},
            "trials": self.config.search.trials,
            "regularizers": list(self.space.regularizers()),
            "searched": [of.name for of in self.space.over(layers).ranges()],
            "finals": self.config.finalize.seeds,
        }

    def cost(self) -> Cost:
        """What each regularizer of the study adds to a training step, measured now on one core; nothing is written.

        Raises:
            UserError: what a run would refuse.
        """
        from regsearch.costing import cost_of

        with self.sealed_for_now() as (manifest, folder):
            self._check_model(manifest)
            return cost_of(self.config, self.space.regularizers(), manifest, folder)

    @contextlib.contextmanager
    def sealed_for_now(self) -> Iterator[tuple[Manifest, Path]]:
        """The study's data without their test rows, in a folder that is gone afterwards."""
        import tempfile

        from regsearch.data import seal

        with tempfile.TemporaryDirectory() as place:
            yield seal(self.config.data, self.config.folder, folder := Path(place) / "data", test=False), folder

    def _check_model(self, manifest: Manifest) -> dict[str, tuple[str, ...]]:
        """Refuse a model that cannot be searched so; its layers, for each strength that has a number for each."""
        from regsearch.core.device import refuse_missing
        from regsearch.core.fit import build_program, task_of

        if self.ray is None:
            refuse_missing(self.config.search.device)
        check_measures(self.config.search, measures(task_of(manifest).metrics_names), self.space.regularizers())
        with guarded():  # the model is the author's own code
            return build_program(self.config, manifest, self.space.regularizers()).layers

    def run(self, *, replace: bool = False, timeout: float | None = None, progress: Progress | None = None) -> Answer:
        """Start the study: seal the data, search, hold finals, register the champion.

        Raises:
            UserError: something cannot be used; nothing is left behind.
        """
        from regsearch.data import sealing

        check_stores(self.config, self.uri, self._known())
        check_tensorboard(self.config.tracking.tensorboard)
        self._check_search()
        begun = time.time()
        with self.aside() as new:
            known = self._known() is not None
            if known and not replace:
                allowed = f"`regsearch study resume {self.config.name}` goes on, --replace starts anew"
                raise UserError("a study of this name exists", key="name", value=self.config.name, allowed=allowed)
            if progress is not None:
                progress.show(Snapshot(study=self.config.name, phase="sealing", message="cutting and sealing the data"))
            with sealing(self.config.data, self.config.folder, new / "data") as sealed:
                self._join_cluster()  # which takes as long
                self._check_model(sealed())
            self.created_ms = int(begun * 1000)
            self.config = at_store(self.config, os.environ.get("MLFLOW_TRACKING_URI"))
            write_study(new, self.config, self.created_ms)
            if known:
                self.delete()
            shutil.rmtree(self.folder, ignore_errors=True)
            os.replace(new, self.folder)
        with self._lock():
            return self._go_on(timeout, progress, begun)

    def _known(self) -> dict[str, Any] | None:
        """What is recorded of the study of this name; None where there is none."""
        return read_study(self.folder) if (self.folder / "study.json").exists() else None

    def _join_cluster(self) -> None:
        """Refuse a cluster that cannot be used before anything is written."""
        if self.ray is not None:
            from regsearch.executors.ray import connect

            connect(self.ray, self.config.search.device)

    def _check_search(self) -> None:
        """Refuse what Ray Tune is asked for and cannot do."""
        if self.config.search.engine == "ray_tune":
            from regsearch.searching import check_tune

            check_tune(self.config, self.space, self.ray)

    def aside(self) -> contextlib.AbstractContextManager[Path]:
        """An empty folder that may become the study's."""
        return aside(self.root, self.config.name)

    def resume(self, timeout: float | None = None, progress: Progress | None = None) -> Answer:
        """Go on from wherever the study was stopped or killed; a finished study gives its answer.

        Raises:
            UserError: the data changed, or another process works on this study.
        """
        from regsearch.data import verify_digest
        from regsearch.tracking.cursor import all_delivered

        check_tensorboard(self.config.tracking.tensorboard)
        if (self.folder / "answer.json").exists() and all_delivered(self.folder / "outbox.jsonl"):
            keep_store(self.folder, self.uri, progress, needed=False)
            with self._event_files(progress):
                return Answer.read(self.folder, self.root / "ledger")
        self._join_cluster()
        begun = time.time()
        with self._lock():
            if progress is not None:
                progress.show(Snapshot(study=self.config.name, phase="checking", message="whether the data changed"))
            verify_digest(self.config.data, self.config.folder, self.folder / "data")
            return self._go_on(timeout, progress, begun)

    def finalize(
        self,
        *,
        top: int | None = None,
        seeds: int | None = None,
        splits: int | None = None,
        refit: bool | None = None,
        progress: Progress | None = None,
    ) -> Answer:
        """Hold the finals of a study, again if it had some; a search that was stopped goes on to its end first.

        The arguments take the place of the study file's `finalize`, from here on.

        Raises:
            UserError: one of them cannot be used, no trial or not the baseline has finished, the data changed, or
                another process works on this study.
        """
        from regsearch.finalizing import asked, make_ready

        config = asked(self.config, top=top, seeds=seeds, splits=splits, refit=refit)
        self._join_cluster()
        begun = time.time()
        with self._lock():
            make_ready(self, config, progress)
            self.config = config
            return self._go_on(None, progress, begun)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        with open(self.folder / "lock", "w") as file:
            hold(file.fileno(), self.config.name)
            with guarded():
                yield

    def _go_on(self, timeout: float | None, progress: Progress | None, begun: float) -> Answer:
        from regsearch.run import Run

        with self._event_files(progress):
            return Run(self, timeout, progress, begun).to_the_end()

    @property
    def _tensorboard(self) -> Path | None:
        return Path(place) / self.config.name if (place := self.config.tracking.tensorboard) else None

    def _event_files(self, progress: Progress | None) -> contextlib.AbstractContextManager[None]:
        say = progress.say if progress else lambda line: None
        return event_files(self.folder / "outbox.jsonl", self._tensorboard, say)

    def frame(self) -> pd.DataFrame:
        """One row per trial and final, from MLflow: kind, number, state, parameters and last metrics by flat name."""
        from regsearch.tracking.runs import read_runs

        return read_runs(self.uri, self.config.name)

    def replay(self, number: int) -> Replay:
        """Train trial `number` again in a new process, with the recorded width, workers and compilation, and compare
        every metric of every epoch with the MLflow store.

        Raises:
            UserError: there is no such trial, it has no curve yet, the data changed, or another process works on this
                study.
        """
        from regsearch.replay import replay

        with self._lock():
            return replay(self, number)

    def show(self) -> Answer | Standing:
        """The study's answer where it has one, else how far it is; another process may be working on it."""
        from regsearch.standing import read_standing

        if (self.folder / "answer.json").exists():
            return Answer.read(self.folder, self.root / "ledger")
        return read_standing(self.folder, self.config)

    def delete(self) -> None:
        """Delete the study here, in the MLflow store and for TensorBoard; the ledger keeps its openings of the test."""
        from regsearch.tracking.runs import delete_study

        with self._lock():
            delete_study(self.uri, self.config.name)
            forget(self.folder)
            remove_event_files(self._tensorboard)
        shutil.rmtree(self.folder, ignore_errors=True)


__all__ = ["Answer", "Study", "home"]
