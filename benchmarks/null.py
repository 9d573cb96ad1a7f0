"""Whole studies whose truth is known: how often does regsearch claim what is not there, and miss what is? `make null`.

    python benchmarks/null.py [--studies N] [--only ARM ...] [--workers N] [--seconds S] [--records FILE] [--out DIR]

Runs the studies of null_arms.py, a process per core, each study from a seed of its own, and writes a page, JSON and a
picture named by date, commit and machine into `results/null/`. What every study came to is a line of the file of
records: studies that are in it are not run again, so the work can be done in pieces.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

from archive import keep
from bench import HERE, machine
from null_arms import ARMS

from regsearch.executors.local import MEMORY, THREADS, cores

BEGUN = time.perf_counter()
Task = tuple[str, int]


def end_with(parent: int) -> None:
    """End this process when its parent ends, however that ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)


def study(task: Task) -> dict[str, Any]:
    """One study, in a folder that is gone afterwards."""
    from null_studies import whole

    with tempfile.TemporaryDirectory(prefix="regsearch-null-") as folder:
        return whole(*task, Path(folder))


def read(file: Path) -> list[dict[str, Any]]:
    """The records that are there; a torn last line does not count."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text().splitlines() if line.endswith("}")]


def run(tasks: list[Task], workers: int, seconds: float) -> Iterator[dict[str, Any]]:
    """The records of the studies as they end, begun until `seconds` have gone by."""
    os.environ.update(THREADS | MEMORY)
    waiting, running = iter(tasks), set[Future[dict[str, Any]]]()
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, fresh, initializer=end_with, initargs=(os.getpid(),)) as pool:
        while True:
            while len(running) < workers and time.perf_counter() - BEGUN < seconds:
                task = next(waiting, None)
                if task is None:
                    break
                running.add(pool.submit(study, task))
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (each.result() for each in done)


def say(text: str) -> None:
    print(f"{time.perf_counter() - BEGUN:4.0f} s: {text}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, help="of each kind; by default as many as the claims need")
    parser.add_argument("--only", nargs="+", choices=ARMS, default=list(ARMS), help="kinds of studies")
    parser.add_argument("--workers", type=int, default=cores(), help="processes")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no study after this time")
    parser.add_argument("--records", type=Path, default=HERE / "results" / "null.jsonl", help="a line per study")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the results")
    options = parser.parse_args()

    from null_page import draw, page, result_of

    load = round(os.getloadavg()[0], 2)
    options.records.parent.mkdir(parents=True, exist_ok=True)
    records = read(options.records)
    known = {(each["arm"], each["index"]) for each in records}
    wanted = [(name, index) for name in options.only for index in range(options.studies or ARMS[name].studies)]
    tasks = [task for task in wanted if task not in known]
    with open(options.records, "a", encoding="utf-8") as file:
        for count, record in enumerate(run(tasks, options.workers, options.seconds), 1):
            records.append(record)
            file.write(json.dumps(record) + "\n")
            file.flush()
            if count % 20 == 0 or count == len(tasks):
                say(f"{count} of {len(tasks)} studies")
    result = result_of([each for each in records if (each["arm"], each["index"]) in set(wanted)])
    result |= {"machine": {**machine(), "load": load}}
    say(f"written: {keep(result, options.out, 'null', page, draw)}")
    for name, each in result["verdicts"].items():
        say(f"{name}: {each['k']} claims in {each['n']} studies, {'as wanted' if each['holds'] else 'NOT AS WANTED'}")


if __name__ == "__main__":
    main()
