"""A pack worker: one process, one thread, its share of the lanes; takes orders over a pipe and answers with reports."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regsearch.errors import UserError

if TYPE_CHECKING:
    from regsearch.core.pack import Load, Pack

_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


@dataclass(frozen=True)
class WorkerSpec:
    """What a worker needs to build its packs: the study, its data, its regularizers and its lanes by cohort.

    `width` and `compiled` are None where they are to be found out.
    """

    index: int
    config: str
    data: str
    regularizers: tuple[str, ...]
    lanes: dict[int, tuple[int, ...]]
    width: int | None
    compiled: bool | None
    parent: int


def main(spec: WorkerSpec, pipe: Connection) -> None:
    """Serve orders until the pipe closes or says stop."""
    _die_with_parent(spec.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver decides what Ctrl-C means
    try:
        worker = _Worker(spec)
        found = worker.found
        pipe.send(("ready", found.width, found.uncompiled, found.serial))
        worker.build(*pipe.recv())
        worker.serve(pipe)
    except UserError as error:
        pipe.send(("refused", error))
    except (EOFError, ConnectionError):
        return
    except Exception as error:  # the driver must hear of it, whatever it is
        import traceback

        pipe.send(("failed", f"{type(error).__name__}: {error}\n{traceback.format_exc()}"))


def _die_with_parent(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


class _Worker:
    def __init__(self, spec: WorkerSpec) -> None:
        import torch

        from regsearch.config import StudyConfig
        from regsearch.core.calibration import calibrate
        from regsearch.core.fit import build_program, load_data
        from regsearch.data import Manifest

        torch.set_num_threads(1)
        folder, self.lanes = Path(spec.data), spec.lanes
        config = StudyConfig.from_json(spec.config)
        manifest = Manifest.load(folder)
        self.data = load_data(folder)
        self.found = calibrate(
            lambda: build_program(config, manifest, spec.regularizers),
            self.data,
            max(len(lanes) for lanes in spec.lanes.values()),
            config.search.trials,
            width=spec.width,
            compiled=spec.compiled,
            backwards=spec.index % 2 == 1,
        )
        self.place: dict[int, tuple[Pack, int]] = {}
        self.pack_cpu = self.waited = self.idle = 0.0

    def build(self, width: int, compiled: bool) -> None:
        """Make the packs, as the driver decided for all workers alike."""
        from regsearch.core.pack import Pack

        program = self.found.program(width)
        if not compiled:
            program.run_uncompiled()
        for lanes in self.lanes.values():
            for start in range(0, len(lanes), width):
                part = lanes[start : start + width]
                pack = Pack(program, self.data, min(width, len(part)))
                self.place.update({lane: (pack, slot) for slot, lane in enumerate(part)})

    def serve(self, pipe: Connection) -> None:
        start = time.perf_counter()
        while True:
            waited_for, order, *given = pipe.recv()
            seconds = time.perf_counter() - start
            self.waited, self.idle = self.waited + seconds * waited_for, self.idle + seconds * (not waited_for)
            if order == "stop":
                return
            pipe.send((order, getattr(self, order)(*given), self._spent()))
            start = time.perf_counter()

    def _spent(self) -> dict[str, float]:
        packs = {id(pack): pack for pack, _ in self.place.values()}
        steps = sum(pack.trial_steps for pack in packs.values())
        seconds = {"pack": self.pack_cpu, "cpu": time.process_time(), "waited": self.waited, "idle": self.idle}
        return {**seconds, "steps": float(steps)}

    def round(self, loads: list[tuple[int, Load, int]], lanes: list[int]) -> list[tuple[int, Any]]:
        """Load trials (bringing each to its epoch), then train `lanes` for one epoch: (lane, report) in lane order."""
        start = time.process_time()
        for lane, load, _ in loads:
            pack, slot = self.place[lane]
            pack.load(slot, load)
        for lane, _, epoch in loads:
            pack, slot = self.place[lane]
            while pack.epochs[slot] < epoch:
                pack.train_epoch([slot])
        reports = []
        packs = {id(self.place[lane][0]): self.place[lane][0] for lane in lanes}
        for pack in packs.values():
            mine = {self.place[lane][1]: lane for lane in lanes if self.place[lane][0] is pack}
            by_number = {pack.loads[slot].number: lane for slot, lane in mine.items()}  # type: ignore[union-attr]
            reports += [(by_number[report.trial], report) for report in pack.train_epoch(sorted(mine))]
        self.pack_cpu += time.process_time() - start
        return sorted(reports, key=lambda item: item[0])

    def settle(self) -> None:
        """Nothing: the answer says what was spent so far."""

    def free(self, lanes: list[int]) -> None:
        for lane in lanes:
            pack, slot = self.place[lane]
            pack.free(slot)

    def weights(self, lane: int) -> dict[str, Any]:
        """The trial's parameters and buffers as NumPy arrays, by name."""
        pack, slot = self.place[lane]
        return {name: value.numpy() for name, value in pack.weights(slot).items()}
