"""The driver is killed in every phase of a study, or asked to stop; the study goes on and ends as undisturbed.

A phase is recognised from outside: by files under the study's home and by the lines on standard error. A kill counts
only if what it left behind says that the phase was under way.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress

from tests.faults.fault import Fault, Moment, Scene, between, said, within
from tests.faults.setups import WHOLE


def _ended_by(number: int, under_way: Callable[[Scene], bool]) -> Callable[[Scene], bool]:
    """End the driver; SIGINT goes to its whole group, as Ctrl-C in a terminal does."""

    def strike(scene: Scene) -> bool:
        command = scene.command
        with suppress(ProcessLookupError):
            (os.killpg if number == signal.SIGINT else os.kill)(command.process.pid, number)
        return scene.finish() != 0 and under_way(scene)

    return strike


def _killed(phase: str, moment: Moment, under_way: Callable[[Scene], bool]) -> Fault:
    strike = _ended_by(signal.SIGKILL, under_way)
    return Fault(f"driver: kill -9 while {phase}", WHOLE, moment, strike, codes=(-9,), chained=True)


def _asked(name: str, number: int) -> Fault:
    """Asked to stop, not killed: at any time once the study is there."""
    moment = within(said("starting"), between("starting", "end"))
    strike = _ended_by(number, lambda scene: not scene.place.answered())
    return Fault(name, WHOLE, moment, strike, codes=(130,), chained=True)


def _registered(scene: Scene) -> bool:
    log = scene.place.folder / "outbox.status"
    return '"state": "drained"' in (log.read_text() if log.exists() else "")


FAULTS = (
    _killed(
        "sealing",
        within(lambda scene: True, lambda peace: peace.command.times["starting"] - peace.command.began),
        lambda scene: not scene.place.begun(),
    ),
    _killed(
        "the store is made",
        within(lambda scene: scene.place.making_store(), between("lock", "store")),
        lambda scene: scene.place.making_store(),
    ),
    _killed(
        "searching",
        within(lambda scene: scene.place.searching(), between("search", "finals")),
        lambda scene: scene.place.searching(),
    ),
    _killed(
        "in finals", within(said("finals"), between("finals", "registering")), lambda s: s.command.phase == "finals"
    ),
    _killed(
        "delivering",
        within(
            lambda scene: (
                (scene.place.writing_store() or scene.command.phase == "delivering") and scene.place.undelivered()
            ),
            lambda peace: 0.1,
        ),
        lambda scene: scene.place.undelivered() and not scene.place.answered(),
    ),
    _killed(
        "registering",
        within(said("registering"), between("registering", "end")),
        lambda scene: scene.command.phase in ("registering", "delivering") and not _registered(scene),
    ),
    _asked("driver: Ctrl-C", signal.SIGINT),
    _asked("driver: SIGTERM", signal.SIGTERM),
)
