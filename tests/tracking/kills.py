"""Tells an outbox a study bit by bit while the writer's own code, forked ready to run, is killed again and again.

`python kills.py OUTBOX URI SEED KILLS` prints in how many lives something was delivered.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

from regsearch.tracking.log.commands import Commands
from regsearch.tracking.log.cursor import cursor_path, read_cursor
from regsearch.tracking.log.outbox import Outbox
from regsearch.tracking.mlflow import champion, delivery, delivery_sqlite, writer  # noqa: F401  # imported before the forks, for speed
from tests.tracking.studies import EPOCHS, FINALS, TRIALS, study


def life(path: Path, uri: str) -> None:
    """One writer's life, from its start until it is killed."""
    commands = Commands(())
    commands.flushing = True
    writer.Writer(path, uri, path.parents[2] / "artifacts", commands).run()


def first_delivery(path: Path) -> float:
    """Wait until something is delivered, and say how long it took: a busy machine takes many times longer."""
    begin = time.monotonic()
    while not read_cursor(path) and time.monotonic() < begin + 60:
        time.sleep(0.005)
    return time.monotonic() - begin


def main(path: Path, uri: str, seed: int, kills: int) -> int:
    pick, told, place, progress = random.Random(seed), list(study(TRIALS, EPOCHS, finals=FINALS)), 0, 0
    writer.BATCH_BYTES = 8000
    outbox = Outbox(path)
    unit: float | None = None
    for turn in range(kills):
        stop = len(told) * (turn + 1) // kills
        # A resumed driver says the last things again, whether or not they were delivered.
        for record in told[max(0, place - 5) : stop]:
            outbox.append(record)
        outbox.commit()
        place, before = stop, read_cursor(path)
        child = os.fork()
        if child == 0:
            life(path, uri)
        if unit is None:
            unit = first_delivery(path)
        else:
            time.sleep(pick.uniform(0.2, 1.6) * unit)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        progress += read_cursor(path) > before
        if pick.random() < 0.2:
            cursor_path(path).unlink(missing_ok=True)
    return progress


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
