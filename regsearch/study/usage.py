"""Measure where a search spends its time: in packs, outside them, and waiting."""

from __future__ import annotations

import time
from typing import Any

from regsearch.driver.base import StudyDriver
from regsearch.executors.executor import Executor
from regsearch.tracking.mlflow.writer_process import WriterHandle


class SearchUsage:
    """Measure a search from here on."""

    def __init__(self, executor: Executor, writer: WriterHandle) -> None:
        self._executor, self._writer = executor, writer
        self._usage, self._cpu, self._delivery = executor.measure_usage(), time.process_time(), self._delivered()
        self._start = time.time()

    def elapsed(self) -> float:
        """Give the seconds since the search began."""
        return time.time() - self._start

    def steps_per_second(self) -> float:
        """Give the trial-steps per second so far."""
        elapsed = self.elapsed()
        return self._executor.usage().steps / elapsed if elapsed else 0.0

    def figures(self, driver: StudyDriver[Any]) -> dict[str, float]:
        """Give the figures of a search that has ended, by the names of the answer's `timing`; none where all trials had
        ended before, as when finals are held again.
        """
        wall = self.elapsed()
        spent = self._executor.usage() - self._usage
        if not spent.steps:
            return {}
        outside = time.process_time() - self._cpu + self._delivered() - self._delivery
        outside += max(0.0, spent.cpu - spent.pack)
        whole, slots = outside + spent.pack, wall * self._executor.workers
        return {
            "search": wall,
            **{f"driver_{part}": seconds for part, seconds in driver.timing.parts().items()},
            "pack_cpu": spent.pack,
            "outside_cpu": outside,
            "outside_cpu_share": outside / whole if whole else 0.0,
            "waited_share": spent.waited / slots if wall else 0.0,
            "idle_share": spent.idle / slots if wall else 0.0,
            "trial_steps_per_second": spent.steps / wall if wall else 0.0,
        }

    def _delivered(self) -> float:
        return self._writer.status().cpu.get("delivery", 0.0)
