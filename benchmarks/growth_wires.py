"""What growth.py measures of a study's wires: deliveries to MLflow, and rounds of real workers on this machine and Ray.

Legend: R reports.
"""

from __future__ import annotations

import importlib
import pickle
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from bench import HERE
from growth_parts import driven

from regsearch.config import load_config, study_space
from regsearch.core.pack import Load
from regsearch.data import seal
from regsearch.executors.executor import COHORTS, Executor, ExecutorSettings
from regsearch.executors.study_bundle import bundle_study
from regsearch.regularizers import knobs
from regsearch.tracking.mlflow.writer_process import start_writer

SERVERS = "tests.servers"
TIMEOUT = 300.0
TINY = """\
name: tiny
data: {source: "sklearn:digits", split: {train: 64, validation: 64, test: 0.0}}
model: {name: mlp, hidden: [4]}
train: {epochs: 30, batch_size: 64}
space: {dropout: search}
finalize: {seeds: 0}
"""


def delivery(store: str, trials: int, metrics: int) -> dict[str, float]:
    """Seconds in which the writer delivers a finished search, imports and the making of the store left out.

    Args:
        store: `sqlite`, or `postgresql` for MLflow's server on PostgreSQL, which run on the same cores.
    """
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name) / "studies" / "digits"
        folder.mkdir(parents=True)
        uri = f"sqlite:///{name}/mlflow.db"
        if store == "postgresql":
            sys.path.append(str(HERE.parent))
            servers = importlib.import_module(SERVERS)
            uri = stack.enter_context(servers.mlflow_server(stack.enter_context(servers.postgres()).uri)).uri
        (folder / "outbox.jsonl").touch()
        _deliver(folder, uri, driven(Path(name), 2, sampler="random"), Path(name))  # what is made once
        found = driven(folder, trials, metrics=metrics, sampler="random")
        wall, cpu = _deliver(folder, uri, found, folder)
    return {"seconds": wall, "cpu": cpu, "trials": trials, "reports": found["reports"], "metrics": metrics}


def _deliver(folder: Path, uri: str, found: dict[str, float], source: Path) -> tuple[float, float]:
    """Wall seconds of the deliveries and the writer's own CPU seconds in them."""
    outbox = folder / "outbox.jsonl"
    if source != folder:
        outbox.write_bytes((source / "outbox.jsonl").read_bytes().replace(b'"digits"', b'"warm"'))
    writer = start_writer(outbox, uri)
    begun = writer.status().cpu.get("delivery", 0.0)
    while writer.alive() and writer.status().lane == "":
        time.sleep(0.005)
    start = time.perf_counter()
    if not writer.drain(TIMEOUT):
        raise RuntimeError(f"{uri} did not take everything: {writer.status().error}")
    seconds = time.perf_counter() - start
    spent = writer.status().cpu.get("delivery", 0.0) - begun
    for beside in folder.glob("outbox.*"):
        beside.unlink()
    return seconds, spent


def rounds(place: str, lanes: int, seconds: float) -> dict[str, float]:
    """A round of one cohort on two real workers whose training is next to nothing: seconds, and bytes on the wire.

    Args:
        place: `processes` or `ray`.
        lanes: in flight.
    """
    with tempfile.TemporaryDirectory() as name:
        executor, config, data = _executor(Path(name), place, lanes)
        try:
            mine = {c: [i for i in range(lanes) if executor.cohort(i) == c] for c in range(COHORTS)}
            loads = [(lane, Load(lane, {"dropout.p": 0.3}, 17 * lane), 0) for lane in range(lanes)]
            for cohort, members in mine.items():
                executor.dispatch(cohort, [each for each in loads if each[0] in set(members)], members)
            walls, cpus, reports, cohort = [], [], [], 0
            before = executor.measure_usage()
            until = time.perf_counter() + seconds
            while time.perf_counter() < until or len(walls) < 6:
                start, cpu = time.perf_counter(), time.process_time()
                reports = executor.wait(cohort)
                executor.dispatch(cohort, [], mine[cohort])
                walls.append(time.perf_counter() - start)
                cpus.append(time.process_time() - cpu)
                cohort = (cohort + 1) % COHORTS
            for _ in range(COHORTS):
                executor.wait(cohort)
                cohort = (cohort + 1) % COHORTS
            spent = executor.measure_usage() - before
            workers = executor.workers
        finally:
            executor.close()
        bundle = bundle_study(config, data)
    count = len(mine[0])
    return {
        "lanes": lanes,
        "workers": workers,
        "wall": statistics.median(walls),
        "driver_cpu": statistics.median(cpus),
        "worker_cpu": (spent.cpu - spent.pack) / len(walls) / workers,
        "reports_per_second": count / statistics.median(walls),
        "report_bytes": len(pickle.dumps(reports)) / count,
        "load_bytes": len(pickle.dumps(loads)) / lanes,
        "bundle_bytes": sum(each.nbytes for each in bundle.files.values()),
    }


def _executor(folder: Path, place: str, lanes: int) -> tuple[Executor, str, Path]:
    (folder / "tiny.yaml").write_text(TINY)
    config = load_config(folder / "tiny.yaml")
    seal(config.data, config.folder, folder / "data")
    width = max(2, min(64, -(-lanes // (2 * COHORTS))))
    given = ExecutorSettings(
        config.to_json(), str(folder / "data"), study_space(config, knobs()), lanes, 2, width, compiled=False
    )
    if place == "ray":
        from regsearch.executors.ray import RayExecutor

        return RayExecutor("local", given), config.to_json(), folder / "data"
    from regsearch.executors.local import LocalExecutor

    return LocalExecutor(given), config.to_json(), folder / "data"
