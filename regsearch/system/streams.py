"""Standard streams that are there, where a program was started with some of them closed, and libraries that talk."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator


def open_streams() -> None:
    """Open standard input, output and error where they are closed: on nothing.

    Else the next file that is opened gets the number of one, and what is printed there goes into it.
    """
    for number in range(3):
        with contextlib.suppress(OSError):
            os.fstat(number)
            continue
        os.open(os.devnull, os.O_RDWR)  # it gets the lowest number that is free
        os.set_inheritable(number, True)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115  (for as long as this process lives)


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Drop what a library prints and logs meanwhile, up to its warnings: it is of use to those who mend it."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(level)
