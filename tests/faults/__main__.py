"""The fault matrix: `python -m tests.faults [--each 10] [--seed 0] [--jobs 2] [--only NAME ...] [--keep FOLDER]`.

Each fault strikes tiny studies at random moments, at least `--each` times; each study then ends, and is held against
the undisturbed run. Prints a table; exits 1 where anything is violated, or a fault did not land often enough.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

# Read when torch and its math library load, also by what is started from here.
os.environ.update({"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "MKL_CBWR": "AVX2", "MPLBACKEND": "agg"})
os.environ.update({"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "RAY_USAGE_STATS_ENABLED": "0"})


def main(words: list[str]) -> int:
    """Run what `words` ask for."""
    from tests.faults.campaign import campaign, table
    from tests.faults.matrix import FAULTS

    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--each", type=int, default=10, help="how often each fault strikes at least")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and places")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="faults whose names begin so")
    parser.add_argument("--jobs", type=int, default=2, help="studies at once")
    parser.add_argument("--keep", type=Path, help="where studies that went wrong stay")
    parser.add_argument("--list", action="store_true", help="print the names")
    given = parser.parse_args(words)
    chosen = [fault for fault in FAULTS if not given.only or fault.name.startswith(tuple(given.only))]
    if given.list:
        print("\n".join(fault.name for fault in chosen))
        return 0
    if not chosen:
        parser.error(f"no fault is called {' or '.join(given.only)}; --list names them")
    root = given.keep or Path(tempfile.mkdtemp(prefix="regsearch-faults-"))
    outcomes = campaign(root.absolute(), chosen, given.each, given.seed, given.jobs)
    print(table(chosen, outcomes))
    wrong = [outcome for outcome in outcomes if outcome.told()]
    for outcome in wrong:
        print(f"{', '.join(outcome.faults)}: {'; '.join(outcome.told())}")
    landed = sum((outcome.landed for outcome in outcomes), Counter[str]())
    rare = [fault.name for fault in chosen if landed[fault.name] < given.each]
    if rare:
        print(f"struck too rarely: {', '.join(rare)}")
    if not given.keep and not wrong:
        shutil.rmtree(root, ignore_errors=True)
    return int(bool(wrong or rare))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
