"""Standard streams that are there: a program may be started with some of them closed."""

from __future__ import annotations

import contextlib
import os
import sys


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
