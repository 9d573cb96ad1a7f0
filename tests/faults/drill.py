"""A fault that strikes no whole study: a function that does it once, on the part that it concerns."""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.faults.life import Outcome


@dataclass(frozen=True)
class Drill:
    """A fault of one part.

    Args:
        name: as the table has it.
        strike: does it in an empty folder at moments and places of its random numbers' choice; what is wrong then.
        times: how many strikes one call is good for.
    """

    name: str
    strike: Callable[[Path, random.Random], list[str]]
    times: int = 1

    def live(self, folder: Path, seed: str) -> Outcome:
        outcome, begin = Outcome([self.name], Counter({self.name: self.times})), time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            outcome.wrong = self.strike(folder, random.Random(seed))
        except Exception as error:  # a violation like any other, to be told with the rest
            outcome.wrong = [f"{type(error).__name__}: {error}"]
        outcome.seconds = time.monotonic() - begin
        if not outcome.wrong:
            shutil.rmtree(folder, ignore_errors=True)
        return outcome
