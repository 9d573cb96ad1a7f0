"""Start workers, and others in place of those that are lost before they begin."""

from __future__ import annotations

import time
from collections.abc import Callable

from regsearch.errors import UserError
from regsearch.executors.messages import Calibrated, WorkerSpec
from regsearch.executors.worker_handle import NoDevice, WorkerHandle, WorkerHost, WorkerLost

STARTS = 5
"""How often in a row a worker may be lost before it begins."""
_DEVICE_WITHIN = 60.0
"""Seconds to wait for a device before the first round: one whose worker was lost may be shunned for some."""


def start_worker(host: WorkerHost, spec: WorkerSpec) -> WorkerHandle:
    """Start a worker that is to measure; where there is no device for it at this moment, one is waited for.

    Raises:
        UserError: none comes.
    """
    until = time.monotonic() + _DEVICE_WITHIN
    while True:
        try:
            return host.start(spec)
        except NoDevice:
            if time.monotonic() > until:
                what = f"there is no device for worker {spec.index + 1} to train on"
                raise UserError(what, allowed="see which machines are there, then resume") from None
            time.sleep(0.5)


def measure(
    host: WorkerHost, spec: WorkerSpec, handle: WorkerHandle, count: int, say: Callable[[str], None]
) -> tuple[WorkerHandle, Calibrated]:
    """Wait until a worker has measured; one that something ends before gives way to another, a few times.

    Args:
        spec: what it was started with.
        count: how many workers there are.
        say: is told that another one is started.

    Returns:
        The worker that measured, and what.

    Raises:
        UserError: it refuses the study, memory does not suffice, or it is lost again and again.
        Exception: what the study fails with in it.
    """
    for start in range(1, STARTS + 1):
        try:
            return handle, handle.ready()
        except WorkerLost as error:
            lost = error
        if lost.memory:
            what, allowed = "the model and its rows do not fit into memory", "fewer workers or a smaller model"
            raise UserError(what, key="search.workers", value=count, allowed=allowed)
        if lost.error is not None:
            raise lost.error
        if start < STARTS:
            say(f"a pack worker {lost.why} before it began: another one starts in its place")
            handle.close()
            handle = start_worker(host, spec)
    raise ended_again(lost)


def ended_again(lost: WorkerLost) -> UserError:
    """Make the refusal of a machine on which a worker is lost again and again before it begins."""
    what = f"a pack worker {lost.why} before it began, {STARTS} times in a row"
    return UserError(what, allowed="see what ends processes on this machine, or what they print; then resume")
