"""Pass on what proxies of trials ask of the driver, and its answers. It needs no Tune and starts fast."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from regsearch.space import Value

MAILBOX = "regsearch-mailbox"
TuneResult = dict[str, Value]
"""What Tune is told of an epoch: its metrics and number, and whether the trial is over; or why it has `failed`."""
Answer = list[TuneResult] | str
"""What a proxy gets: results of epochs, or the name of a saved state."""


@dataclass(frozen=True)
class ProxyRequest:
    """Hold what a proxy wants of the driver.

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


class Mailbox:
    """Take what proxies ask to the driver, and its answers back: an actor without a CPU."""

    def __init__(self) -> None:
        self._requests: list[ProxyRequest] = []
        self._due: dict[int, asyncio.Future[Answer]] = {}
        self._something = asyncio.Event()

    async def ask(self, request: ProxyRequest) -> Answer:
        """Hand over what a proxy asks; give the driver's answer."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._due[request.number] = answer
        self._requests.append(request)
        self._something.set()
        return await answer

    async def requests(self, seconds: float) -> list[ProxyRequest]:
        """Take what has been asked since, after waiting at most this long for something."""
        if not self._requests and seconds > 0:
            try:
                await asyncio.wait_for(self._something.wait(), seconds)
            except TimeoutError:
                return []
        self._something.clear()
        requests, self._requests = self._requests, []
        return requests

    async def answer(self, answers: Mapping[int, Answer]) -> None:
        """Give proxies their answers, by number of their trials."""
        for number, answer in answers.items():
            due = self._due.pop(number, None)
            if due is not None and not due.done():
                due.set_result(answer)
