"""How often Python looks for cyclic garbage, in the processes that are this package's own."""

from __future__ import annotations

import atexit
import contextlib
import gc
from collections.abc import Iterator

_SELDOM = (100_000, 50, 100)


def settle_collector() -> None:
    """Collect seldom in this process, and not at its end.

    The libraries that are imported here make a million objects, none of them garbage. Looking at them over and over is
    a fifth of the time of an import, and at the end of the process it takes up to two seconds.
    """
    gc.set_threshold(*_SELDOM)
    end_quickly()


def end_quickly() -> None:
    """Do not look for garbage at the end of this process."""
    atexit.register(gc.freeze)


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Collect seldom while libraries are imported, and as usual afterwards.

    For a process that is not this package's own, and for one that trains: there garbage may hold tensors.
    """
    before = gc.get_threshold()
    gc.set_threshold(*_SELDOM)
    try:
        yield
    finally:
        gc.set_threshold(*before)
