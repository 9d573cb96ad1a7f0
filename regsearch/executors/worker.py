"""A pack worker: one thread and its share of the lanes; takes orders and answers with reports.

How orders reach it and answers go back is its host's affair: a pipe on this machine, an actor on a cluster.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regsearch.errors import UserError
from regsearch.system.garbage import importing

if TYPE_CHECKING:
    from regsearch.core.pack import Pack, Saved, Start

Lanes = Mapping[int, tuple[int, ...]]
"""Lanes by cohort."""


@dataclass(frozen=True)
class WorkerSpec:
    """What a worker needs to build its packs.

    Args:
        index: which of the workers that start together.
        config: the study, as canonical JSON.
        data: the folder of the sealed data, as this worker sees it.
        regularizers: the names that make the program.
        most: how many lanes of one cohort it may get.
        width, compiled: None where they are to be found out.
        memory: bytes that its packs may take, where it finds out their width; None: most of a GPU's.
        device: where its packs are.
    """

    index: int
    config: str
    data: str
    regularizers: tuple[str, ...]
    most: int
    width: int | None
    compiled: bool | None
    memory: int | None = None
    device: str = "cpu"


@dataclass(frozen=True)
class Found:
    """What a worker found out before it began; see `regsearch.core.calibration.Calibration`."""

    width: int
    uncompiled: str | None
    serial: str | None


class Worker:
    """Trains lanes in packs.

    Raises:
        UserError: the model or the data is refused.
    """

    def __init__(self, spec: WorkerSpec) -> None:
        with importing():
            import torch

            from regsearch.config import StudyConfig, study_space
            from regsearch.core.build import build_program, load_data
            from regsearch.core.calibration import calibrate
            from regsearch.core.device import free_on, use
            from regsearch.data import Manifest
            from regsearch.regularizers import knobs
            from regsearch.system.guard import guard

        guard()
        torch.set_num_threads(1)
        device = use(spec.device)
        folder = Path(spec.data)
        config = StudyConfig.from_json(spec.config)
        manifest = Manifest.load(folder)
        space = study_space(config, knobs())
        self.data = load_data(folder)
        self._calibration = calibrate(
            lambda: build_program(config, manifest, space, spec.regularizers),
            self.data,
            spec.most,
            config.search.trials,
            width=spec.width,
            compiled=spec.compiled,
            backwards=spec.index % 2 == 1,
            memory=free_on(device) if spec.memory is None else spec.memory,
        )
        found = self._calibration
        self.found = Found(found.width, found.uncompiled, found.serial)
        self._place: dict[int, tuple[Pack, int]] = {}
        self._width = 0
        self._steps = 0
        self._pack_cpu = self._waited = self._idle = 0.0
        self._since = time.perf_counter()

    def settle_on(self, width: int, compiled: bool) -> None:
        """Train in packs of this width from now on, compiled or not, as the driver decided for all workers alike."""
        self._width = width
        self._program = self._calibration.program(width)
        if not compiled:
            self._program.run_uncompiled()

    def obey(self, waited_for: bool, order: str, *given: Any) -> tuple[str, Any, dict[str, float]]:
        """Carry out an order: (order, its answer, what was spent so far).

        Args:
            waited_for: whether the time since the last answer was spent waiting for this order, not for want of trials.
        """
        seconds = time.perf_counter() - self._since
        self._waited, self._idle = self._waited + seconds * waited_for, self._idle + seconds * (not waited_for)
        carry_out: Callable[..., Any] = getattr(self, order)
        answer = carry_out(*given)
        self._since = time.perf_counter()
        return order, answer, self._spent()

    def _spent(self) -> dict[str, float]:
        steps = self._steps + sum(pack.trial_steps for pack in self._packs())
        seconds = {"pack": self._pack_cpu, "cpu": time.process_time(), "waited": self._waited, "idle": self._idle}
        return {**seconds, "steps": float(steps)}

    def _packs(self) -> list[Pack]:
        return list({id(pack): pack for pack, _ in self._place.values()}.values())

    def save(self, lanes: list[int]) -> dict[int, Saved]:
        """The trials in these lanes as they stand, for another worker to go on with."""
        return {lane: self._place[lane][0].save(self._place[lane][1]) for lane in lanes}

    def place(self, lanes: Lanes, saved: Mapping[int, Saved]) -> None:
        """Have these lanes from now on, and these trials in them. Trials in lanes that stay go on where they are."""
        from regsearch.core.pack import Pack

        held = [lane for lane, (pack, slot) in self._place.items() if pack.loads[slot] is not None]
        kept = {**self.save(held), **saved}
        self._steps += sum(pack.trial_steps for pack in self._packs())
        self._place = {}
        for mine in lanes.values():
            for start in range(0, len(mine), self._width):
                part = mine[start : start + self._width]
                pack = Pack(self._program, self.data, min(self._width, len(part)))
                for slot, lane in enumerate(part):
                    self._place[lane] = pack, slot
                    if lane in kept:
                        pack.put(slot, kept[lane])

    def round(self, loads: list[tuple[int, Start, int]], lanes: list[int]) -> list[tuple[int, Any]]:
        """Load trials (bringing each to its epoch), then train `lanes` for one epoch: (lane, report) in lane order."""
        start = time.process_time()
        self._load(loads)
        reports = []
        for pack, mine in self._by_pack(lanes):
            lane_of = {pack.loads[slot].number: lane for slot, lane in mine.items()}  # type: ignore[union-attr]
            reports += [(lane_of[report.trial], report) for report in pack.train_epoch(sorted(mine))]
        self._pack_cpu += time.process_time() - start
        return sorted(reports, key=lambda item: item[0])

    def _load(self, loads: list[tuple[int, Start, int]]) -> None:
        from regsearch.core.pack import Load

        for lane, start, _ in loads:
            pack, slot = self._place[lane]
            pack.load(slot, start) if isinstance(start, Load) else pack.put(slot, start)
        wanted = {lane: epoch for lane, _, epoch in loads}
        for pack, mine in self._by_pack(list(wanted)):
            while behind := [slot for slot, lane in mine.items() if pack.epochs[slot] < wanted[lane]]:
                pack.train_epoch(sorted(behind))

    def _by_pack(self, lanes: list[int]) -> list[tuple[Pack, dict[int, int]]]:
        """The packs that these lanes are in, with the lane of each of their slots."""
        packs = {id(self._place[lane][0]): self._place[lane][0] for lane in lanes}
        return [
            (pack, {self._place[lane][1]: lane for lane in lanes if self._place[lane][0] is pack})
            for pack in packs.values()
        ]

    def settle(self) -> None:
        """Nothing: the answer says what was spent so far."""

    def state(self, loads: list[tuple[int, Start, int]], lane: int) -> Saved:
        """The trial in `lane` as it stands; `loads` as in `round`."""
        self._load(loads)
        return self.save([lane])[lane]

    def weights(self, loads: list[tuple[int, Start, int]], lane: int) -> dict[str, Any]:
        """The parameters and buffers of the trial in `lane` as NumPy arrays, by name; `loads` as in `round`."""
        self._load(loads)
        pack, slot = self._place[lane]
        return {name: value.cpu().numpy() for name, value in pack.weights(slot).items()}


def failure(error: Exception, begun: bool) -> tuple[str, Any]:
    """What a worker that cannot go on says: that the study was refused, that memory ran out, or what failed.

    Args:
        begun: whether it had begun to train; before, an error of the user's is one of the study, not of a trial.
    """
    from regsearch.core.footprint import out_of_memory

    if out_of_memory(error):
        return "memory", str(error)
    return "refused" if isinstance(error, UserError) and not begun else "failed", _sendable(error)


def _sendable(error: Exception) -> Exception:
    """The error with where it was raised, or where it cannot be sent one that says as much."""
    import pickle
    import traceback

    error.add_note(traceback.format_exc())
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever a user's class does
        return RuntimeError(f"{type(error).__name__}: {error}\n{traceback.format_exc()}")
    return error
