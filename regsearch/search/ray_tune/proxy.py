"""A Tune trial: a light proxy of one that trains in a pack, and the desk over which it asks for epochs.

Nothing here imports torch: a proxy is a process, and there may be as many as trials in flight.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

# Read by ray when it is imported: no word about this use leaves the cluster.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray
from ray.tune import Trainable

from regsearch.space import Value

DESK = "regsearch-desk"
EPOCH = "epoch"
"""What schedulers count, in every result."""


@dataclass(frozen=True)
class Asked:
    """What a proxy wants of the driver.

    Args:
        number: of its trial.
        what: `epoch`, to train one more; `save`, to keep the trial's state; `begin`, to train the first epoch here.
        setting: with `begin`, the flat encoding of its knobs.
        snapshot: with `begin`, the name of the state to begin with, None for the trial's seed.
    """

    number: int
    what: Literal["begin", "epoch", "save"]
    setting: Mapping[str, Value] = field(default_factory=dict)
    snapshot: str | None = None


class Desk:
    """Takes what proxies ask to the driver, and its answers back. An actor without a CPU."""

    def __init__(self) -> None:
        self._asked: list[Asked] = []
        self._due: dict[int, asyncio.Future[Any]] = {}
        self._something = asyncio.Event()

    async def ask(self, asked: Asked) -> Any:
        """Hand over what a proxy asks; the driver's answer."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._due[asked.number] = answer
        self._asked.append(asked)
        self._something.set()
        return await answer

    async def asked(self, seconds: float) -> list[Asked]:
        """What has been asked since, after waiting at most this long for something."""
        if not self._asked and seconds > 0:
            try:
                await asyncio.wait_for(self._something.wait(), seconds)
            except TimeoutError:
                return []
        self._something.clear()
        found, self._asked = self._asked, []
        return found

    async def answer(self, answers: Mapping[int, Any]) -> None:
        """Give proxies their answers, by number of their trials."""
        for number, answer in answers.items():
            due = self._due.pop(number, None)
            if due is not None and not due.done():
                due.set_result(answer)


class Failed(RuntimeError):
    """The trial failed; its process did not."""


class Proxy(Trainable):
    """Stands in Tune for a trial that trains in a pack: a step is an epoch there."""

    def setup(self, config: dict[str, Any]) -> None:
        self._desk: Any = ray.get_actor(DESK)
        self._begin(config)

    def _begin(self, config: dict[str, Any]) -> None:
        self._setting = dict(config)
        self._snapshot: str | None = None
        self._begun = False

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        number = int(self.trial_id)
        asked = Asked(number, "epoch") if self._begun else Asked(number, "begin", self._setting, self._snapshot)
        self._begun = True
        result: dict[str, Any] = ray.get(self._desk.ask.remote(asked))
        if "failed" in result:
            raise Failed(result["failed"])
        return result

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        if not self._begun:
            return {"snapshot": self._snapshot}
        return {"snapshot": ray.get(self._desk.ask.remote(Asked(int(self.trial_id), "save")))}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        self._snapshot = (checkpoint or {}).get("snapshot")
        self._begun = False
