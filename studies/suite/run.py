"""Four methods of regularization on the twelve smallest sets of the tabular suite, compared; `make suite`.

    python studies/suite/run.py [DATA ...] [--trials N] [--seeds N] [--jobs N]

Each method is a study file beside this one and runs on each data set: 48 studies, one worker each, as many at a time
as there are cores. A study that has its answer is not trained again and one that was killed goes on, so the command can
be stopped and given again. Then the methods are compared over the data sets, and ../README.md gets the tables.

Named data sets alone are run where names are given; README.md is then left as it is, and the tables are printed.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regsearch import Study

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "README.md"
METHODS = ("none", "l2", "dropout", "cocktail")
ROWS = {
    "sonar": 208,
    "breast": 277,
    "cleveland": 297,
    "ionosphere": 351,
    "dermatology": 358,
    "movement_libras": 360,
    "bands": 365,
    "saheart": 462,
    "australian": 690,
    "vehicle": 846,
    "vowel": 990,
    "german": 1000,
}
"""The twelve smallest sets that DATA lists, by their number of rows; none was left out for its outcome."""
SMALLEST = tuple(ROWS)[:10]
"""Those of the optimism table."""


def main() -> int:
    """Run what has no answer yet, compare, write the tables; 1 where a study failed."""
    asked = _arguments()
    strangers = [name for name in asked.data if name not in ROWS]
    if strangers:
        print(f"no such data set in the suite: {strangers[0]}; there are {', '.join(ROWS)}", file=sys.stderr)
        return 2
    sets = tuple(asked.data) or tuple(ROWS)
    # Read when torch loads, in the processes below.
    os.environ.update({"OMP_NUM_THREADS": "1", "MKL_CBWR": "AVX2"})
    jobs = [(method, name, asked.trials, asked.seeds) for name in sets for method in METHODS]
    failed = 0
    with ProcessPoolExecutor(asked.jobs, get_context("spawn"), _end_with_the_parent) as pool:
        running = [pool.submit(run_study, *job) for job in jobs]
        for place, done in enumerate(as_completed(running), 1):
            line, went_well = done.result()
            failed += not went_well
            print(f"{place:>3} of {len(jobs)}  {line}", file=sys.stderr, flush=True)
    if failed:
        print(f"{failed} studies failed, so nothing is compared; give the command again", file=sys.stderr)
        return 1
    from tables import suite_tables, with_tables

    from regsearch.errors import UserError

    names = {name: {method: study_name(method, name) for method in METHODS} for name in sets}
    try:
        found = suite_tables(names, SMALLEST)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(found)
    if not asked.data:
        PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")
    return 0


def run_study(method: str, data: str, trials: int | None, seeds: int | None) -> tuple[str, bool]:
    """Have the study's answer, by training what is not trained yet; a line about it, and whether it went well."""
    from regsearch import Study
    from regsearch.errors import UserError

    begun = time.time()
    study = wanted(method, data, trials, seeds)
    name = study.config.name
    try:
        known = study.folder / "study.json"
        same = known.exists() and Study.open(name).config == study.config
        answer = Study.open(name).resume() if same else study.run(replace=known.exists())
    except UserError as error:
        return f"{name}: {error}", False
    return f"{name}: {time.time() - begun:.0f} s; {answer.sentence}", True


def wanted(method: str, data: str, trials: int | None = None, seeds: int | None = None) -> Study:
    """The study of this method on this data set: the method's file with the data set's source and split."""
    from regsearch import Study
    from regsearch.config import load_config

    config = load_config(HERE / f"{method}.yaml")
    split = config.data.split.model_copy(update=sizes(ROWS[data]))
    change: dict[str, Any] = {
        "name": study_name(method, data),
        "data": config.data.model_copy(update={"source": f"keel:{data}", "split": split}),
    }
    if trials is not None and method != "none":
        change["search"] = config.search.model_copy(update={"trials": trials})
    if seeds is not None:
        change["finalize"] = config.finalize.model_copy(update={"seeds": seeds})
    return Study(config.model_copy(update=change))


def _end_with_the_parent() -> None:
    """A killed command leaves no study training on, which the next one would meet."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def study_name(method: str, data: str) -> str:
    return f"suite-{data}-{method}"


def sizes(rows: int) -> dict[str, int]:
    """Training and validation rows, few enough that an unregularized network overfits; the rest is sealed."""
    train, validation = min(300, round(0.4 * rows)), min(200, round(0.2 * rows))
    return {"train": train, "validation": validation, "test": rows - train - validation}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("data", nargs="*", metavar="DATA", help="data sets; all of them by default")
    parser.add_argument("--trials", type=int, help="trials of each search, in place of the files' numbers")
    parser.add_argument("--seeds", type=int, help="seeds of the finals, in place of the files' numbers")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="studies at a time; one per core by default"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
