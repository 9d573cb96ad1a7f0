"""Trial-steps per second of the whole machine: packs of regsearch against other ways to train many trials.

    python benchmarks/throughput.py [MODEL ...] [--repeats N] [--seconds S] [--out FOLDER]

Every variant of a model is measured in turn, `--repeats` times over, for `--seconds` of wall time each, on all cores:
packs as a study runs them (a process per core, one thread and one pack each), stock loops as a process per core and as
a thread per core, plain `torch.func.vmap`, and `modelbatch` from PyPI, which is installed into `build/`. Training
alone counts: no evaluation, no search, no tracking. The figures go to `results/throughput/`, as JSON, a page and a
picture named by date, commit and machine. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from archive import keep
from bench import machine
from measure import Measurement, Settings
from models import CASES
from peers import MODELBATCH, install_modelbatch
from process_groups import CORES, GROUPS, ProcessGroup

from regsearch.core.pack_function import compiler

HERE = Path(__file__).resolve().parent
INDEPENDENCE = ("mlp-32", "mlp-128")
WIDTHS = (2, 4, 8, 16, 32, 64)


def measured(models: list[str], cores: int, settings: Settings) -> dict[str, Any]:
    """All figures of these models."""
    result: dict[str, Any] = {"models": {}, "independence": {}}
    with contextlib.ExitStack() as stack:
        groups = {name: stack.enter_context(ProcessGroup(name, cores)) for name in GROUPS}
        for name in models:
            start = time.perf_counter()
            found = result["models"][name] = Measurement(groups, name, settings).throughput()
            ratio = found["ratio"]
            print(
                f"{name}: {ratio['median']:.2f} times the {found['best_stock']} at T = {found['width']}"
                f" (range {ratio['lowest']:.2f} to {ratio['highest']:.2f}, aim {found['aim']};"
                f" measured in {time.perf_counter() - start:.0f} s)",
                flush=True,
            )
        for name in INDEPENDENCE:
            if name in models:
                found = result["independence"][name] = Measurement(groups, name, settings).independence()
                print(f"{name}: {found['ratio']['median']:.2f} of the rate {found['best_without']}", flush=True)
    return result


def _compiler() -> str:
    """The C++ compiler that steps are compiled with, and its version."""
    name = compiler()
    if name is None:
        return "none"
    return subprocess.run([name, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(CASES)} (default: all)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.25, help="of each turn of a variant")
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS, help="of the packs, for the curve")
    parser.add_argument("--cores", type=int, default=CORES, help="to use (default: all)")
    parser.add_argument("--uncompiled", action="store_true", help="run the packs operation by operation")
    parser.add_argument("--without-modelbatch", action="store_true", help="do not install and measure it")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the results")
    given = parser.parse_args()
    unknown = [name for name in given.models if name not in CASES]
    if unknown:
        parser.error(f"no model {unknown[0]}; there are {', '.join(CASES)}")
    if min(given.repeats, given.cores) < 1 or given.seconds <= 0 or min(given.widths) < 2:
        parser.error("repeats and cores must be at least 1, seconds above 0, widths at least 2")

    # Not on top: the processes of the groups import this file.
    from throughput_page import aims, draw, page

    start, models = time.perf_counter(), given.models or list(CASES)
    load = os.getloadavg()[0]
    why = "left out" if given.without_modelbatch else install_modelbatch()
    settings = Settings(given.repeats, given.seconds, tuple(given.widths), not given.uncompiled, why)
    with tempfile.TemporaryDirectory(prefix="regsearch-throughput-") as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache  # what compiling takes is a figure too
        found = measured(models, given.cores, settings)
    result = {
        "machine": {**machine(), "cores": given.cores, "compiler": _compiler(), "load_before": round(load, 2)},
        "modelbatch": MODELBATCH.partition("==")[2],
        "repeats": given.repeats,
        "seconds_per_turn": given.seconds,
        "seconds": round(time.perf_counter() - start),
        "aims": aims(found),
        **found,
    }
    file = keep(result, given.out, "throughput", page, lambda found, file: draw(found["models"], file))
    print(f"written: {file}, page and picture beside it")
    for each in result["aims"]:
        print(f"{'met   ' if each['met'] else 'MISSED'} {each['aim']}: {each['figure']:.2f}, wanted {each['wanted']}")


if __name__ == "__main__":
    main()
