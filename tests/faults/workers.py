"""A pack worker is killed, or stops for longer than its lease: another trains its trials again, and no bit differs."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

import psutil

from tests.faults.fault import Fault, Scene, Undisturbed, in_search, wait_for
from tests.faults.invariant import Ended
from tests.faults.setups import LEASE, LONG

NO_ANSWER = f"gave no answer in {LEASE:.0f} seconds"


def _one_of(scene: Scene) -> psutil.Process | None:
    workers = scene.command.workers()
    return scene.pick.choice(sorted(workers, key=lambda worker: worker.pid)) if workers else None


def _kill(scene: Scene) -> bool:
    worker = _one_of(scene)
    if worker is None:
        return False
    with suppress(psutil.NoSuchProcess):
        worker.kill()
    return True


def _stop(scene: Scene) -> bool:
    """Stop it until it is taken for gone, then let it go on: its driver has ended it, and there is nothing to go on."""
    worker, told = _one_of(scene), _lines(scene, NO_ANSWER)
    if worker is None:
        return False
    with suppress(psutil.NoSuchProcess):
        worker.suspend()
    wait_for(lambda: _lines(scene, NO_ANSWER) > told or not scene.command.running(), 60)
    with suppress(ProcessLookupError):
        os.kill(worker.pid, signal.SIGCONT)
    return _lines(scene, NO_ANSWER) > told


def _lines(scene: Scene, part: str) -> int:
    return sum(part in line for line in scene.command.lines)


def replaced(scene: Scene, ended: Ended, peace: Undisturbed) -> list[str]:
    """The driver itself went on through all of it, and nobody's trial was taken for the cause."""
    wrong = [] if len(scene.commands) == 1 else [f"{len(scene.commands)} processes were needed"]
    failed = [number for number, (state, _) in ended.trials.items() if state == "FAIL"]
    return wrong + ([f"trials {failed} failed"] if failed else [])


FAULTS = (
    Fault("worker: killed", LONG, in_search(3), _kill, holds=replaced, times=3),
    Fault("worker: stopped past its lease", LONG, in_search(3), _stop, holds=replaced, times=3),
)
