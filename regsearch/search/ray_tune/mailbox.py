"""The desk over which proxies of trials ask for epochs, and the driver answers. It needs no Tune and starts fast."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from regsearch.space import Value

DESK = "regsearch-desk"


@dataclass(frozen=True)
class Asked:
    """What a proxy wants of the driver.

    Args:
        number: of its trial.
        what: `epoch`, to train on; `save`, to keep the trial's state; `begin`, to train the first epoch here.
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
