"""Run `tune.Tuner` in a thread of the study's process, and pass on what its proxies ask."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune import PlacementGroupFactory
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import TrialScheduler

from regsearch.search.ray_tune.adapters import Abandoned, Listener, Numbered
from regsearch.search.ray_tune.mailbox import MAILBOX, Answer, Mailbox, ProxyRequest
from regsearch.search.ray_tune.proxy import Proxy

_PROXY_BYTES = 200 << 20
"""What a proxy takes at least; there are as many as find room on the node, and no more than trials in flight."""
_RETRIES = 3
"""How often a proxy that is lost is started again."""
_BUFFER = "TUNE_RESULT_BUFFER_LENGTH"
_SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "60",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
}


class TunerThread:
    """Run Tune for one study.

    Args:
        folder: of the study: Tune's state goes to `tune` in it.
        parallel: at most so many proxies at once.
        listener: hears of the trials that Tune ends.
        buffered: Tune takes the epochs between two decisions at once. Where each epoch counts it warns of a buffer.
    """

    def __init__(self, folder: Path, parallel: int, listener: Listener, buffered: bool) -> None:
        self._folder, self._parallel, self._listener = folder, parallel, listener
        self._error: BaseException | None = None
        os.environ.update(_SETTINGS)
        # `Proxy.train_buffered` says how many there are.
        os.environ.pop(_BUFFER, None)
        if buffered:
            os.environ[_BUFFER] = "1000000"
        # As many are staged at once as there is room for: their processes start side by side.
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(parallel)
        for name in ("ray.tune", "ray.train", "ray.air"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._mailbox: Any = ray.remote(Mailbox).options(name=MAILBOX, num_cpus=0, max_concurrency=1000).remote()
        self._thread: threading.Thread | None = None
        self._tuner: tune.Tuner

    def open(self, settings: Numbered, scheduler: TrialScheduler, metric: str, mode: str) -> None:
        """Make the tuner, or restore it from where it was last saved; `settings` are then as of that moment.

        Args:
            settings: of the trials.
            metric, mode: the objective, and whether to `min` or `max` it.
        """
        where = str(self._folder / "tune")
        proxy = tune.with_resources(Proxy, self._place())
        if tune.Tuner.can_restore(where):
            with contextlib.suppress(Exception):  # whatever a kill left of it: the memory has all that counts
                self._tuner = tune.Tuner.restore(where, proxy, resume_unfinished=True)
                return
        self._tuner = tune.Tuner(
            proxy,
            tune_config=tune.TuneConfig(
                metric=metric,
                mode=mode,
                search_alg=settings,
                scheduler=scheduler,
                num_samples=settings.total_samples,
                reuse_actors=True,
                trial_dirname_creator=_folder_of,
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(self._folder),
                callbacks=[self._listener],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=_RETRIES),
                verbose=0,
            ),
        )

    def start(self) -> None:
        """Start Tune in a thread of its own."""
        self._thread = threading.Thread(target=self._fit, name="tune", daemon=True)
        self._thread.start()

    def _place(self) -> PlacementGroupFactory:
        """A proxy's place: this node, which has Tune's state on its disk, and room in its memory."""
        here = ray.get_runtime_context().get_node_id()
        node = next(each for each in ray.nodes() if each["NodeID"] == here)  # type: ignore[no-untyped-call]
        room = max(_PROXY_BYTES, int(node["Resources"].get("memory", 0)) // self._parallel)
        address = next(name for name in node["Resources"] if name.startswith("node:") and "__" not in name)
        return PlacementGroupFactory([{"CPU": 0, "memory": room, address: 0.0001}])

    def _fit(self) -> None:
        try:
            self._tuner.fit()
        except Abandoned:
            pass
        except BaseException as error:  # it is raised again where the driver asks
            self._error = error

    def requests(self, seconds: float) -> list[ProxyRequest]:
        """Take what proxies ask, after waiting at most this long for something.

        Raises:
            RuntimeError: Tune came to grief.
        """
        if self._error is not None:
            raise RuntimeError(f"Ray Tune failed: {self._error}") from self._error
        requests: list[ProxyRequest] = ray.get(self._mailbox.requests.remote(seconds))
        return requests

    def answer(self, answers: Mapping[int, Answer]) -> None:
        """Give proxies their answers, by number of their trials."""
        if answers:
            self._mailbox.answer.remote(dict(answers))

    @property
    def over(self) -> bool:
        """Whether Tune has come to its end."""
        return self._thread is not None and not self._thread.is_alive()

    def stop(self) -> None:
        """End Tune where it stands."""
        if self._thread is not None:
            self._thread.join(timeout=30)
        with contextlib.suppress(Exception):
            ray.kill(self._mailbox)


def _folder_of(trial: TuneTrial) -> str:
    return str(trial.trial_id)
