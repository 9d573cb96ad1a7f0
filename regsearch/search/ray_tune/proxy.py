"""A Tune trial: a light proxy of one that trains in a pack.

Nothing here imports torch: a proxy is a process, and there may be as many as trials in flight.
"""

from __future__ import annotations

import os
from typing import Any

# Read by ray when it is imported: no word about this use leaves the cluster.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

from regsearch.system.garbage import importing

with importing():
    import ray
    from ray.tune import Trainable

from regsearch.search.ray_tune.mailbox import MAILBOX, ProxyRequest, TuneResult
from regsearch.space import Value

EPOCH = "epoch"
"""What schedulers count, in every result."""


class Failed(RuntimeError):
    """The trial failed; its process did not."""


class Proxy(Trainable):
    """Stands in Tune for a trial that trains in a pack: a step is an epoch there.

    Tune is handed all epochs up to the next at which it may decide at once, as it takes buffered results.
    """

    def setup(self, config: dict[str, Value]) -> None:
        """Find the mailbox, and begin with the setting of the trial."""
        self._mailbox: Any = ray.get_actor(MAILBOX)
        self._begin(config)

    def _begin(self, config: dict[str, Value]) -> None:
        self._setting = dict(config)
        self._snapshot: str | None = None
        self._begun = False
        self._results: list[TuneResult] = []

    def reset_config(self, new_config: dict[str, Value]) -> bool:
        """Begin with the setting of another trial."""
        self._begin(new_config)
        return True

    def train_buffered(self, buffer_time_s: float, max_buffer_length: int = 1000) -> list[TuneResult]:
        """List the results of all epochs that the driver answers with; how many these are is its affair, not Tune's."""
        results: list[dict[str, Any]] = [self.train()]  # type: ignore[no-untyped-call]
        while self._results and "failed" not in self._results[0]:
            results.append(self.train())  # type: ignore[no-untyped-call]
        return results

    def step(self) -> TuneResult:
        """Give the result of the next epoch."""
        if not self._results:
            number = int(self.trial_id)
            begin = ProxyRequest(number, "begin", self._setting, self._snapshot)
            request = ProxyRequest(number, "epoch") if self._begun else begin
            self._begun = True
            self._results = ray.get(self._mailbox.ask.remote(request))
        result = self._results.pop(0)
        if "failed" in result:
            raise Failed(result["failed"])
        return result

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, str | None]:
        """Ask the driver to save the trial's state; the checkpoint holds its name."""
        if not self._begun:
            return {"snapshot": self._snapshot}
        return {"snapshot": ray.get(self._mailbox.ask.remote(ProxyRequest(int(self.trial_id), "save")))}

    def load_checkpoint(self, checkpoint: dict[str, str | None] | None) -> None:
        """Begin with the state of that name."""
        self._snapshot = (checkpoint or {}).get("snapshot")
        self._begun, self._results = False, []
