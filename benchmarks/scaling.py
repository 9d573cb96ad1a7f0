"""Two workers against one, and what `--ray local` adds: `python benchmarks/scaling.py [--trials 128] [--repeats 3]`.

One study (the digits MLP on 1,437 rows, no pruning, every epoch in MLflow), as whole commands with one worker and with
two, each on one core, as processes and as actors of a Ray cluster of this machine; the four take turns. Packs are of
one width: two workers share the trials in flight, and their packs would be half as wide. The scaling is
that of the search, by trial-steps per second; the start-up of Ray is what comes before the search, by how much longer
it takes than with processes. Last, the resident memory of a worker that has built its packs and waits for orders.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from archive import keep
from bench import HERE, STUDY, check_epochs, in_words, machine, summary, timed

AIMS = {"scaling": 1.7, "ray_seconds": 10.0, "megabytes": 700.0}
PLACES = {"processes": [], "ray": ["--ray", "local"]}


def start(folder: Path, workers: int, place: str, options: argparse.Namespace) -> dict[str, Any]:
    """One whole study."""
    given = {"trials": options.trials, "epochs": options.epochs, "batch": 32, "learning_rate": 2e-3}
    search = f"pruner: none, workers: {workers}, parallel: {options.parallel}"
    search += f", width: {options.width}" if options.width else ""
    text = STUDY.format(**given).replace("pruner: none", search)
    (folder / "bench.yaml").write_text(text)
    command = [str(Path(sys.executable).with_name("regsearch")), "study", "start", "bench.yaml", "--json"]
    seconds, out = timed([*command, *PLACES[place]], folder)
    answer = json.loads(out)
    check_epochs(place, folder / "mlruns" / "mlflow.db", options.trials * options.epochs)
    if answer["pack"]["workers"] != workers:
        sys.exit(f"{place}: {answer['pack']['workers']} workers, {workers} were asked for")
    return {"seconds": seconds, "width": answer["pack"]["width"], "best": answer["best"]["value"], **answer["timing"]}


def measured(options: argparse.Namespace) -> dict[str, dict[int, list[dict[str, Any]]]]:
    """Every place with one worker and with two, in turn, forwards and backwards."""
    runs: dict[str, dict[int, list[dict[str, Any]]]] = {place: {1: [], 2: []} for place in PLACES}
    turns = [(place, workers) for place in PLACES for workers in (1, 2)]
    for repeat in range(options.repeats):
        for place, workers in turns if repeat % 2 == 0 else reversed(turns):
            with tempfile.TemporaryDirectory(prefix="regsearch-scaling-") as name:
                one = start(Path(name), workers, place, options)
            runs[place][workers].append(one)
            print(
                f"{place}, {workers} worker{'s' * (workers > 1)}, {repeat + 1}: {one['trial_steps_per_second']:.0f}"
                f" trial-steps/s, packs of {one['width']}, start {one['start']:.1f} s, whole {one['seconds']:.1f} s",
                flush=True,
            )
    answers = {one["best"] for each in runs.values() for some in each.values() for one in some}
    if len(answers) > 1:
        sys.exit(f"the answer depends on where it was trained: {answers}")
    return runs


def idle_megabytes(place: str) -> list[float]:
    """Resident memory of the workers of the study above that wait for orders, in MB; shared pages count in each."""
    from regsearch.config import load_config, study_space
    from regsearch.data import seal
    from regsearch.executors.executor import ExecutorSettings
    from regsearch.executors.local import LocalExecutor
    from regsearch.regularizers import knobs

    with tempfile.TemporaryDirectory(prefix="regsearch-idle-") as name:
        file = Path(name) / "bench.yaml"
        file.write_text(STUDY.format(trials=32, epochs=1, batch=32, learning_rate=2e-3))
        config = load_config(file)
        seal(config.data, config.folder, Path(name) / "data")
        given = ExecutorSettings(
            config.to_json(), str(Path(name) / "data"), study_space(config, knobs()), lanes=32, workers=2
        )
        if place == "ray":
            from regsearch.executors.ray import RayExecutor

            executor: Any = RayExecutor("local", given)
        else:
            executor = LocalExecutor(given)
        try:
            executor.measure_usage()
            children = psutil.Process().children(recursive=True)
            mark = "ray::PackActor" if place == "ray" else "spawn_main"
            return [each.memory_info().rss / 1e6 for each in children if mark in " ".join(each.cmdline())]
        finally:
            executor.close()


def figures(runs: dict[str, dict[int, list[dict[str, Any]]]], idle: dict[str, list[float]]) -> dict[str, Any]:
    """What the aims are about; ratios and differences are of runs side by side."""
    found: dict[str, Any] = {"scaling": {}, "whole": {}}
    for place, each in runs.items():
        pairs = list(zip(each[1], each[2], strict=True))
        key = "trial_steps_per_second"
        found["scaling"][place] = summary([two[key] / one[key] for one, two in pairs])
        found["whole"][place] = summary([one["seconds"] / two["seconds"] for one, two in pairs])
    pairs = list(zip(runs["ray"][2], runs["processes"][2], strict=True))
    found["ray_seconds"] = summary([ray["start"] - own["start"] for ray, own in pairs])
    found["ray_whole_seconds"] = summary([ray["seconds"] - own["seconds"] for ray, own in pairs])
    found["megabytes"] = {place: max(each) for place, each in idle.items()}
    met = [(f"two workers against one, {p}", v["median"], f"≥ {AIMS['scaling']}") for p, v in found["scaling"].items()]
    aims = [{"aim": aim, "figure": v, "wanted": w, "met": v >= AIMS["scaling"]} for aim, v, w in met]
    least = [("seconds that --ray local adds", found["ray_whole_seconds"]["median"], AIMS["ray_seconds"])]
    least += [(f"MB of an idle worker, {p}", v, AIMS["megabytes"]) for p, v in found["megabytes"].items()]
    aims += [{"aim": aim, "figure": v, "wanted": f"≤ {most:g}", "met": v <= most} for aim, v, most in least]
    return {**found, "aims": aims}


def page(result: dict[str, Any]) -> str:
    """The result as a Markdown page."""
    host, what, runs = result["machine"], result["workload"], result["runs"]
    versions = ", ".join(f"{name} {host[name]}" for name in ("python", "torch", "ray"))
    aims = [
        f"| {a['aim']} | {a['wanted']} | {a['figure']:.2f} | {'met' if a['met'] else '**missed**'} |"
        for a in result["figures"]["aims"]
    ]
    rows = []
    for place, each in runs.items():
        for workers, some in each.items():
            cells = [_spread([one[key] for one in some], d) for key, d in COLUMNS]
            rows.append(f"| {place} | {workers} | {some[-1]['width']} | {' | '.join(cells)} |")
    found = result["figures"]
    whole = ", ".join(f"{place} {each['median']:.2f}" for place, each in found["whole"].items())
    return f"""# Two workers against one

{what["trials"]} trials of the digits MLP of two 128-unit layers on 1,437 rows, {what["epochs"]} epochs, no pruning,
every epoch in MLflow; {what["parallel"]} trials in flight; one core a worker; {what["repeats"]} repeats, in turn.
All runs gave the same answer. {host["cpu"]}, {host["cores"]} cores, {host["system"]}; {versions}; load before the
measurement {host["load_before"]}.

| aim | wanted | figure | |
|---|---|---|---|
{chr(10).join(aims)}

Medians, ranges in brackets. `outside` is the share of CPU time that is not training: the driver and the writer, which
two workers share their cores with.

| place | workers | packs of | trial-steps per second | seconds before the search | of it | in all | outside |
|---|---|---|---|---|---|---|---|
{chr(10).join(rows)}

The whole command with two workers against one, start-up included: {whole} times as fast. Ray adds
{in_words(found["ray_seconds"])} s before the search and {in_words(found["ray_whole_seconds"])} s in all.
"""


COLUMNS = [("trial_steps_per_second", 0), ("start", 1), ("search", 1), ("seconds", 1), ("outside_cpu_share", 2)]


def _spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f}, {max(values):.{digits}f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--parallel", type=int, default=64)
    parser.add_argument("--width", type=int, default=16, help="of the packs; 0: each study measures its own")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the results")
    options = parser.parse_args()
    if min(options.trials, options.epochs, options.parallel, options.repeats) < 1:
        parser.error("trials, epochs, parallel and repeats must be at least 1")

    load = round(os.getloadavg()[0], 2)
    runs = measured(options)
    idle = {place: idle_megabytes(place) for place in PLACES}
    result = {
        "workload": {name: getattr(options, name) for name in ("trials", "epochs", "parallel", "repeats")},
        "machine": {**machine(), "ray": version("ray"), "load_before": load},
        "figures": figures(runs, idle),
        "idle_megabytes": idle,
        "runs": runs,
    }
    print(f"written: {keep(result, options.out, 'scaling', lambda found, picture: page(found))}")
    for each in result["figures"]["aims"]:
        print(f"{'met   ' if each['met'] else 'MISSED'} {each['aim']}: {each['figure']:.2f}, wanted {each['wanted']}")


if __name__ == "__main__":
    main()
