"""A study at work as the terminal shows it, and how Ctrl-C ends it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from regsearch.cli.display import Display
    from regsearch.study.study import Study

STOPPED = 130


@contextmanager
def watched(study: Study) -> Iterator[Display]:
    """Show a display, and heed Ctrl-C (or SIGTERM, which service managers send): the first ends the search after the
    running round, the second ends everything at once."""
    from regsearch.cli.display import Display

    def stop(signum: int, frame: object) -> None:
        if study.stop.requested:
            display.leave()
            os._exit(STOPPED)
        study.stop.requested = True
        if display.phase != "search":  # what else takes long has no rounds; resume does it again
            resume = f"`regsearch study resume {study.config.name}` goes on"
            raise KeyboardInterrupt(f"stopped; {resume}" if study.folder.exists() else "stopped before the study began")
        display.later("stopping: the running round ends; Ctrl-C again stops at once")

    def again() -> None:
        study.stop.requested = False
        threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT)).start()

    # Ray writes on standard output what its cluster says; that is for the answer.
    with Display(study.config.name) as display, contextlib.redirect_stdout(sys.stderr), _not_swallowed(again):
        before = {each: signal.signal(each, stop) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield display
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


@contextmanager
def _not_swallowed(again: Callable[[], None]) -> Iterator[None]:
    """Call `again` where the interpreter drops an interruption, as it does with any exception in the callback of a weak
    reference or in `__del__`."""
    usual = sys.unraisablehook

    def look(lost: sys.UnraisableHookArgs) -> None:
        if isinstance(lost.exc_value, KeyboardInterrupt):
            again()
        else:
            usual(lost)

    sys.unraisablehook = look
    try:
        yield
    finally:
        sys.unraisablehook = usual
