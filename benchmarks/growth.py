"""What a study costs besides its training as nodes, trials and metrics grow, and what comes of it on 1,000 GPUs.

    python benchmarks/growth.py [--seen 100 1000 10000 30000] [--out docs]

Measures the parts of a search one by one (decisions after n trials, records, deliveries to MLflow, orders to workers),
puts the figures into a queueing model (growth_model.py), holds the model against two searches that ran, and writes
a page, a picture and JSON named by date, commit and machine into `results/growth/`. Nothing else should run on the
machine meanwhile.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from archive import keep
from bench import HERE, epochs_in, machine, timed

GPUS, SLOTS, TRIALS, ROUND = 1000, 64, 1_000_000, 10.0
FLEETS = (1, 3, 10, 30, 100, 300, GPUS)
WORKERS = (10, 100, 1000)
LANES = (64, 1024)
METRICS = (3, 27)
BEGUN = time.perf_counter()


def line(points: list[tuple[float, float]]) -> tuple[float, float]:
    """Intercept and slope, neither below 0, of the line with the least squares of relative errors."""
    x, y = (np.array(column, float) for column in zip(*points, strict=True))
    slope, intercept = np.polyfit(x, y, 1, w=1 / y)
    if intercept < 0:
        return 0.0, float((x / y).sum() / (x**2 / y**2).sum())
    return float(intercept), max(0.0, float(slope))


def decisions(seen: list[int], seconds: float) -> dict[str, Any]:
    from growth_driver import VARIANTS, Decisions

    found: dict[str, Any] = {"cost": {variant: {} for variant in VARIANTS}, "opening": {}, "commit": {}}
    with tempfile.TemporaryDirectory(prefix="regsearch-growth-") as name:
        search = Decisions(Path(name))
        for ended in seen:
            search.fill(ended)
            for variant in VARIANTS:
                found["cost"][variant][ended] = search.cost(variant, seconds)
            found["opening"][ended] = search.opening()
            say(f"after {ended} trials: {milliseconds(found['cost']['tpe'][ended])}")
        found["commit"] = {lanes: search.commit(lanes) for lanes in (32, GPUS * SLOTS)}
    return found


def handed_out() -> list[dict[str, float]]:
    from growth_driver import orders

    found = [orders(workers, SLOTS) for workers in WORKERS]
    say(f"orders to {WORKERS[-1]} workers: {1e3 * found[-1]['seconds']:.0f} ms a round")
    return found


def recorded() -> dict[int, dict[str, float]]:
    from growth_driver import records

    with tempfile.TemporaryDirectory(prefix="regsearch-growth-") as name:
        return {count: records(Path(name), count) for count in METRICS}


def searched() -> dict[str, float]:
    """A search in a fresh process, of which memory is measured."""
    from growth_parts import driven

    fresh = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
    with tempfile.TemporaryDirectory(prefix="regsearch-growth-") as name, fresh:
        return fresh.submit(driven, Path(name), 1000, sampler="random").result()


def trained(seconds: float) -> dict[str, list[dict[str, float]]]:
    from growth_wires import rounds

    found = {place: [rounds(place, lanes, seconds) for lanes in LANES] for place in ("processes", "ray")}
    say(f"Ray: {found['ray'][-1]['reports_per_second']:.0f} reports per second from two workers")
    return found


def delivered(store: str, trials: int) -> list[dict[str, float]]:
    from growth_wires import delivery

    found = [delivery(store, trials, count) for count in METRICS]
    took = " and ".join(f"{each['seconds']:.1f} s" for each in found)
    say(f"{store}: {took} for {trials} trials")
    return found


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Every part's figures; those that are in `options.parts` already are taken from there, and new ones put there."""
    file: Path | None = options.parts
    found: dict[str, Any] = json.loads(file.read_text()) if file and file.exists() else {}
    steps: dict[str, Callable[[], Any]] = {
        "decisions": lambda: decisions(sorted(options.seen), options.seconds),
        "orders": handed_out,
        "records": recorded,
        "search": searched,
        "rounds": lambda: trained(options.seconds),
        "sqlite": lambda: delivered("sqlite", options.delivered[0]),
        "postgresql": lambda: delivered("postgresql", options.delivered[1]),
    }
    for name, step in steps.items():
        if name not in found:
            found[name] = json.loads(json.dumps(step()))  # keys as they are read back
            if file:
                file.write_text(json.dumps(found, indent=1) + "\n")
    return found


def costs_of(parts: dict[str, Any]) -> Any:
    """The model's costs, for a study of nine metrics on Ray that is delivered to SQLite."""
    from growth_model import Costs

    tpe = parts["decisions"]["cost"]["tpe"]
    fits = {name: line([(int(n), each[name]) for n, each in tpe.items()]) for name in ("ask", "prune")}
    few, many = (parts["rounds"]["ray"][k] for k in (0, 1))
    share = [each["lanes"] / 2 for each in (few, many)]
    wire = max(0.0, (many["driver_cpu"] - few["driver_cpu"]) / (share[1] - share[0]))
    order = max(0.0, few["driver_cpu"] - wire * share[0]) / few["workers"]
    commits = parts["decisions"]["commit"]
    few_lanes, many_lanes = sorted(commits, key=int)
    lane = (commits[many_lanes]["cpu"] - commits[few_lanes]["cpu"]) / (int(many_lanes) - int(few_lanes))
    records = {int(count): each for count, each in parts["records"].items()}
    trial, report = deliver(parts["sqlite"], "cpu", 9)
    last = tpe[max(tpe, key=int)]
    return Costs(
        ask=fits["ask"][0], ask_seen=fits["ask"][1], report=last["report"], tell=last["tell"],
        prune=fits["prune"][0], prune_seen=fits["prune"][1],
        record=between({count: each["report"] for count, each in records.items()}, 9), begin=records[3]["begin"],
        commit=commits[few_lanes]["wall"] + records[3]["commit"], commit_lane=max(0.0, lane), order=order, wire=wire,
        deliver_trial=trial, deliver_report=report,
    )  # fmt: skip


def between(by_metrics: dict[int, float], metrics: int) -> float:
    """What it is for so many metrics, on the line through two measured numbers of them."""
    (few, low), (many, high) = sorted(by_metrics.items())
    return low + (high - low) * (metrics - few) / (many - few)


def deliver(found: list[dict[str, float]], clock: str, metrics: int) -> tuple[float, float]:
    """Seconds of a delivery per trial, and per report with so many metrics: a report costs in proportion to them."""
    few, many = found
    value = (many[clock] - few[clock]) / (many["metrics"] - few["metrics"]) / few["reports"]
    trial = (few[clock] - value * few["metrics"] * few["reports"]) / few["trials"]
    return max(0.0, trial), max(0.0, value) * metrics


def validated(costs: Any, trials: int) -> dict[str, Any]:
    """The model against a search that the driver bounds, and against studies/digits.yaml on two cores."""
    from growth_model import simulate
    from growth_parts import driven, study_of

    with tempfile.TemporaryDirectory(prefix="regsearch-growth-") as name:
        measured = driven(Path(name), trials)
    bound = simulate(replace(costs, order=0.0, wire=0.0), 1, 32, trials, 0.0)  # no worker is beyond a wire
    computing = bound["seconds"] * (1 - bound["spent"]["commit"])  # the rest waits for the disk
    found = {"driver": {"trials": trials, "measured": measured["cpu"], "model": computing}}
    found["driver"] |= {"reports": [measured["reports"], bound["reports"]]}
    with tempfile.TemporaryDirectory(prefix="regsearch-growth-") as name:
        study_of(Path(name), trials=trials // 2)
        command = [str(Path(sys.executable).with_name("regsearch")), "study", "start", "digits.yaml", "--json"]
        answer = json.loads(timed([*command, "--ray", "local"], Path(name))[1])
        turns = _turns(Path(name) / "mlruns" / "studies" / "digits" / "search.journal")
        reports = epochs_in(Path(name) / "mlruns" / "mlflow.db")
    timing, workers = answer["timing"], answer["pack"]["workers"]
    each = timing["pack_cpu"] / turns / workers
    model = simulate(costs, workers, 32 // workers, trials // 2, each)
    found["study"] = {"trials": trials // 2, "measured": timing["search"], "model": model["seconds"], "round": each}
    found["study"] |= {"reports": [reports, model["reports"]]}
    for name, one in found.items():
        say(f"{name}: {one['measured']:.1f} s measured, {one['model']:.1f} s in the model")
    return found


def _turns(journal: Path) -> int:
    last = [line for line in journal.read_text().splitlines() if '"turn":' in line][-1]
    return int(last.partition('"turn":')[2].partition(",")[0])


def predicted(costs: Any, parts: dict[str, Any]) -> dict[str, Any]:
    """The model on 1 to `GPUS` GPUs with 1,000 trials each, by remedy; how far MLflow's server lags, too."""
    from growth_driver import LATEST
    from growth_model import remedies, simulate

    latest = parts["decisions"]["cost"][LATEST]
    trial, report = deliver(parts["postgresql"], "seconds", 9)
    found: dict[str, Any] = {}
    for name, changed in remedies(costs, line([(int(n), each["ask"]) for n, each in latest.items()])).items():
        found[name] = {n: simulate(changed, n, SLOTS, TRIALS * n // GPUS, ROUND) for n in FLEETS}
        last = found[name][GPUS]
        server = replace(changed, deliver_trial=trial, deliver_report=report)
        last["server_lag"] = simulate(server, GPUS, SLOTS, TRIALS, ROUND)["lag"]
        say(f"{GPUS} GPUs, {name}: busy {last['busy']:.2%} in {last['seconds'] / 3600:.1f} hours")
    return found


def milliseconds(each: dict[str, float]) -> str:
    return ", ".join(f"{name} {1e3 * value:.2f} ms" for name, value in each.items())


def say(text: str) -> None:
    print(f"{time.perf_counter() - BEGUN:4.0f} s: {text}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--seen", type=int, nargs="+", default=[100, 1000, 10_000, 30_000], help="trials that have ended"
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement of decisions and rounds")
    parser.add_argument("--delivered", type=int, nargs=2, default=[1000, 60], help="trials, to SQLite and PostgreSQL")
    parser.add_argument("--driven", type=int, default=400, help="trials of the search that the model is held against")
    parser.add_argument("--parts", type=Path, help="a file of parts: what it has is not measured again")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the results")
    options = parser.parse_args()
    if min(*options.seen, options.driven, *options.delivered) < 2 or len(options.seen) < 2:
        parser.error("at least two numbers of trials, each at least 2")

    from growth_page import draw, page

    load = round(os.getloadavg()[0], 2)
    parts = measured(options)
    costs = costs_of(parts)
    result = {
        "machine": {**machine(), "ray": version("ray"), "load_before": load},
        "parts": parts,
        "costs": asdict(costs),
        "validated": validated(costs, options.driven),
        "scenario": {"gpus": GPUS, "slots": SLOTS, "trials": TRIALS, "round": ROUND},
        "predicted": predicted(costs, parts),
        "seconds": round(time.perf_counter() - BEGUN),
    }
    say(f"written: {keep(result, options.out, 'growth', page, draw)} in {result['seconds']} s")


if __name__ == "__main__":
    main()
