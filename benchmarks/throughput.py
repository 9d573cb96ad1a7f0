"""Trial-steps per second of one thread: packs and one trial at a time, compiled and not, against the best stock loop.

    python benchmarks/throughput.py [MODEL ...] [--repeats N] [--seconds S] [--uncompiled-only]

All variants of a model are measured in turn, `--repeats` times over; a time is the thread's own. The stock loop has its
data resident, tracks nothing, and steps by a fused Adam; for pictures also with channels last. Results go to
`benchmarks/results/throughput.json`.
"""

from __future__ import annotations

import os

os.environ.update({"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "MKL_CBWR": "AVX2"})

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from models import CASES, Case

from regsearch.core.graph import CannotCompile
from regsearch.core.pack import Data, Load, Pack
from regsearch.core.program import Program, Training
from regsearch.tasks import Classification

RESULTS = Path(__file__).resolve().parent / "results"
ROWS = 1024


def targets(case: Case) -> torch.Tensor:
    if isinstance(case.task, Classification):
        return torch.randint(0, case.task.classes, (ROWS,))
    return torch.randn(ROWS)


def stock(case: Case, x: torch.Tensor, y: torch.Tensor, channels_last: bool) -> Callable[[], int]:
    """One step of the stock loop; gives the number of trial-steps done."""
    module = case.build()
    if channels_last:
        module, x = module.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3, fused=True)
    order = torch.randperm(ROWS)[: case.batch]

    def step() -> int:
        out = module(x[order])
        right = y[order]
        loss = F.cross_entropy(out, right) if right.dtype == torch.int64 else F.mse_loss(out[:, 0], right)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return 1

    return step


def packs(case: Case, data: Data, compiled: bool, found: dict[str, object]) -> dict[str, Callable[[], int]]:
    """One step of packs of each width, by the variant's name."""
    training = Training(10, case.batch, "adam", 1e-3, 0.9, (0.9, 0.999), "constant", False)
    program = Program(case.build, case.task, (), training)
    steps = {}
    for width in case.widths:
        pack = Pack(program, data, width)
        for slot in range(width):
            pack.load(slot, Load(slot, {}, slot))
        order = torch.stack([torch.randperm(ROWS)[: case.batch] for _ in range(width)])
        plan = tuple(each[0] for each in pack.plan(1))
        if compiled and width == case.widths[0]:
            start = time.perf_counter()
            try:
                program.compile_step(*pack.arguments(order, *plan))
            except CannotCompile as error:
                found["cannot_compile"] = str(error)
                return {}
            found["compile_seconds"] = round(time.perf_counter() - start, 1)

        def step(pack: Pack = pack, order: torch.Tensor = order, plan: tuple[torch.Tensor, ...] = plan) -> int:
            pack._step(order, *plan)
            return pack.width

        steps[f"{'compiled' if compiled else 'graph'}-{width}"] = step
    return steps


def one_at_a_time(case: Case, data: Data, compiled: bool) -> dict[str, Callable[[], int]]:
    """One step of one trial by the graph of one trial, by the variant's name."""
    training = Training(10, case.batch, "adam", 1e-3, 0.9, (0.9, 0.999), "constant", False)
    program = Program(case.build, case.task, (), training)
    program.run_one_at_a_time()
    pack = Pack(program, data, 1)
    pack.load(0, Load(0, {}, 0))
    order, plan = torch.randperm(ROWS)[: case.batch].unsqueeze(0), tuple(each[0] for each in pack.plan(1))
    if compiled:
        try:
            program.compile_step(*pack.arguments(order, *plan))
        except CannotCompile:
            return {}

    def step() -> int:
        pack._step(order, *plan)
        return 1

    return {f"{'compiled' if compiled else 'graph'}-single": step}


def rate(step: Callable[[], int], seconds: float) -> float:
    """Trial-steps per second of the thread's own time."""
    done, start = 0, time.thread_time()
    while time.thread_time() - start < seconds:
        done += step()
    return done / (time.thread_time() - start)


def measure(name: str, repeats: int, seconds: float, uncompiled_only: bool) -> dict[str, object]:
    case = CASES[name]
    torch.manual_seed(0)
    x, y = case.inputs(ROWS), targets(case)
    data = Data(x, y, x[:256], y[:256])
    found: dict[str, object] = {}
    steps = {"stock": stock(case, x, y, False)}
    if x.dim() == 4:
        steps["stock-channels-last"] = stock(case, x, y, True)
    for compiled in (False,) if uncompiled_only else (False, True):
        steps |= packs(case, data, compiled, found)
        steps |= one_at_a_time(case, data, compiled)
    for step in steps.values():
        for _ in range(3):
            step()
    rates: dict[str, list[float]] = {variant: [] for variant in steps}
    for _ in range(repeats):
        for variant, step in steps.items():
            rates[variant].append(rate(step, seconds))
    middle = {variant: statistics.median(each) for variant, each in rates.items()}
    best_stock = max(value for variant, value in middle.items() if variant.startswith("stock"))
    found["variants"] = {
        variant: {
            "trial_steps_per_second": round(middle[variant], 1),
            "range": [round(min(each), 1), round(max(each), 1)],
            "times_stock": round(middle[variant] / best_stock, 2),
        }
        for variant, each in rates.items()
    }
    return found


def machine() -> dict[str, object]:
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(CASES), metavar="MODEL", help=", ".join(CASES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each measurement")
    parser.add_argument("--uncompiled-only", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    results = {}
    for name in given.models:
        results[name] = measure(name, given.repeats, given.seconds, given.uncompiled_only)
        print(name, json.dumps({k: v for k, v in results[name].items() if k != "variants"}))
        for variant, row in results[name]["variants"].items():  # type: ignore[attr-defined]
            print(
                f"  {variant:20} {row['trial_steps_per_second']:>9} /s {row['times_stock']:>6} x stock  {row['range']}"
            )
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "throughput.json"
    path.write_text(json.dumps({"machine": machine(), "models": results}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
