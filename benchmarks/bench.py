"""Trials per second of regsearch against the loop a user would write, on the same trials: `make bench`.

Both sides train the digits MLP (two 128-unit layers) on the same 1,437 rows, the same settings and epochs, without
pruning, with every epoch's metrics in a fresh local MLflow store; both are whole processes, imports included. The sides
are interleaved. The plain loop's settings are those that regsearch's sampler drew, read back from its MLflow store, and
both stores must hold every epoch of every trial.

    python benchmarks/bench.py [--trials 256] [--repeats 3] [--peer-trials N] [--name NAME]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from archive import keep

HERE = Path(__file__).resolve().parent
STUDY = """\
name: bench
data:
  source: sklearn:digits
  split: {{train: 0.8, validation: 0.2, test: 0.0, seed: 0}}
model: {{name: mlp, hidden: [128, 128]}}
train: {{epochs: {epochs}, batch_size: {batch}, optimizer: adamw, learning_rate: {learning_rate}}}
search: {{sampler: tpe, pruner: none, trials: {trials}, seed: 0}}
finalize: {{seeds: 0}}
"""


def environment(**extra: str) -> dict[str, str]:
    """The caller's, without what would settle either side's threads or stores."""
    settled = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "MKL_CBWR", "MLFLOW_TRACKING_URI", "REGSEARCH_HOME")
    kept = {name: value for name, value in os.environ.items() if name not in settled}
    return {**kept, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", **extra}


def timed(command: list[str], folder: Path) -> tuple[float, str]:
    """Wall seconds of a whole process run in `folder`, and its standard output; its errors end the benchmark."""
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{' '.join(command[1:])}: exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return seconds, done.stdout


def epochs_in(store: Path) -> int:
    """How many epochs' validation losses a store holds."""
    with sqlite3.connect(store) as connection:
        return int(connection.execute("SELECT count(*) FROM metrics WHERE key = 'val_loss'").fetchone()[0])


def check_epochs(side: str, store: Path, expected: int) -> None:
    found = epochs_in(store)
    if found != expected:
        sys.exit(f"{side}: {found} epochs in its MLflow store, {expected} were to be trained")


def run_regsearch(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One whole study in a fresh folder."""
    (folder / "bench.yaml").write_text(STUDY.format(**vars(options)))
    command = [str(Path(sys.executable).with_name("regsearch")), "study", "start", "bench.yaml", "--json"]
    seconds, out = timed(command, folder)
    answer = json.loads(out)
    check_epochs("regsearch", folder / "mlruns" / "mlflow.db", options.trials * options.epochs)
    return {"seconds": seconds, "rate": options.trials / seconds, "pack": answer["pack"], "timing": answer["timing"]}


def settings_of(folder: Path) -> tuple[list[dict[str, float]], list[float]]:
    """The settings that regsearch trained, by trial number, and the validation losses it ended with."""
    from regsearch.tracking.mlflow.runs import read_runs

    frame = read_runs(f"sqlite:///{folder / 'mlruns' / 'mlflow.db'}", "bench")
    frame = frame[frame["kind"] == "trial"].sort_values("number")
    knobs = [name for name in frame.columns if "." in name]
    rows = frame[knobs].to_dict("records")
    return [{k: float(v) for k, v in row.items() if v == v and v is not None} for row in rows], list(frame["val_loss"])


def run_peer(folder: Path, data: Path, settings: Path, threads: int, options: argparse.Namespace) -> dict[str, Any]:
    """The plain loop over `settings`; with fewer trials than regsearch its rate is start-up plus the loop scaled up."""
    result = folder / "peer.json"
    command = [sys.executable, str(HERE / "peer_loop.py"), *recipe(options), "--threads", str(threads)]
    command += [
        "--settings",
        str(settings),
        "--data",
        str(data),
        "--store",
        str(folder / "store"),
        "--out",
        str(result),
    ]
    seconds, _ = timed(command, folder)
    report: dict[str, Any] = json.loads(result.read_text())
    check_epochs("peer", folder / "store" / "mlflow.db", report["trials"] * options.epochs)
    whole = seconds - report["loop_seconds"] + report["loop_seconds"] * options.trials / report["trials"]
    return {"seconds": whole, "rate": options.trials / whole, **report}


def recipe(options: argparse.Namespace) -> list[str]:
    given = ("epochs", "batch", "learning_rate")
    return [word for name in given for word in (f"--{name.replace('_', '-')}", str(getattr(options, name)))]


def calibrate(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The plain loop's best number of threads on this machine."""
    out = folder / "threads.json"
    timed([sys.executable, str(HERE / "peer_loop.py"), *recipe(options), "--calibrate", "--out", str(out)], folder)
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    names = ("torch", "numpy", "optuna", "mlflow", "pandas", "scikit-learn")
    versions = {name: version(name) for name in names}
    return {"cpu": model, "cores": cores, "system": platform.system(), "python": platform.python_version(), **versions}


def summary(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}


def in_words(each: dict[str, float]) -> str:
    """A summary in a table: the median, and the range in brackets."""
    return f"{each['median']:.1f} [{each['lowest']:.1f}, {each['highest']:.1f}]"


def page(result: dict[str, Any]) -> str:
    """The result as a short Markdown page."""
    what, host, rows = result["workload"], result["machine"], []
    for name in ("regsearch", "peer", "ratio"):
        one = result[name]
        rows.append(f"| {name} | {one['median']:.2f} | {one['lowest']:.2f} to {one['highest']:.2f} |")
    versions = ", ".join(f"{name} {value}" for name, value in host.items() if name not in ("cpu", "cores", "system"))
    last, peer = result["runs"]["regsearch"][-1], result["runs"]["peer"][-1]
    parts = ", ".join(f"{name} {value:.0f}" for name, value in peer["milliseconds_per_trial"].items())
    timing = ", ".join(f"{k} {v:.1f}" for k, v in last["timing"].items() if isinstance(v, int | float))
    return f"""# {what["trials"]} trials of the digits MLP, {result["repeats"]} repeats

{what["epochs"]} epochs, batch {what["batch"]}, hidden [128, 128], no pruning, every epoch in MLflow.
Trials per second of the whole process:

| | median | range |
|---|---|---|
{chr(10).join(rows)}

- Machine: {host["cpu"]}, {host["cores"]} cores, {host["system"]}; {versions}.
- regsearch: pack {last["pack"]}; timing of the last repeat: {timing}.
- Plain loop: {result["threads"]["threads"]} threads (the faster of 1 and 2), {peer["trials"]} of the trials measured;
  milliseconds per trial: {parts}.
- Median last validation loss over the shared settings: regsearch {result["val_loss"]["regsearch"]:.4f},
  plain loop {result["val_loss"]["peer"]:.4f}.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--peer-trials", type=int, help="measure the plain loop on so many of the trials (default: all)"
    )
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the results")
    parser.add_argument("--name", default="digits-mlp-128", help="of the results")
    options = parser.parse_args()
    few = min(options.peer_trials or options.trials, options.trials)
    if min(few, options.repeats, options.epochs, options.batch) < 1:
        parser.error("trials, repeats, epochs and batch must be at least 1")

    runs: dict[str, list[dict[str, Any]]] = {"regsearch": [], "peer": []}
    losses: list[float] = []
    with tempfile.TemporaryDirectory(prefix="regsearch-bench-") as name:
        root = Path(name)
        threads = calibrate(root, options)
        print(f"plain loop: {threads['threads']} threads are best, seconds {threads['calibration']}", flush=True)
        settings, data = root / "settings.json", root / "data"
        picked = [index * options.trials // few for index in range(few)]
        for repeat in range(options.repeats):
            # The first repeat gives the settings; after it the sides take turns in going first.
            for side in ("regsearch", "peer") if repeat % 2 == 0 else ("peer", "regsearch"):
                folder = root / f"{side}-{repeat}"
                folder.mkdir()
                if side == "regsearch":
                    one = run_regsearch(folder, options)
                    if not settings.exists():
                        every, ended = settings_of(folder)
                        settings.write_text(json.dumps([every[index] for index in picked]))
                        losses = [ended[index] for index in picked]
                        shutil.copytree(folder / "mlruns" / "studies" / "bench" / "data", data)
                else:
                    one = run_peer(folder, data, settings, threads["threads"], options)
                runs[side].append(one)
                print(f"{side} {repeat + 1}: {one['rate']:.2f} trials/s ({one['seconds']:.1f} s)", flush=True)
                shutil.rmtree(folder)

    rates = {side: [one["rate"] for one in runs[side]] for side in runs}
    ratios = [ours / theirs for ours, theirs in zip(rates["regsearch"], rates["peer"], strict=True)]
    peer_losses = [value for value in runs["peer"][-1]["values"] if value is not None]
    for one in runs["peer"]:
        one.pop("values")
    workload = {name: getattr(options, name) for name in ("trials", "epochs", "batch", "learning_rate")}
    result = {
        "workload": {**workload, "rows": "digits, 80 % for training", "hidden": [128, 128]},
        "repeats": options.repeats,
        "machine": machine(),
        "threads": threads,
        "regsearch": summary(rates["regsearch"]),
        "peer": summary(rates["peer"]),
        "ratio": summary(ratios),
        "val_loss": {"regsearch": statistics.median(losses), "peer": statistics.median(peer_losses)},
        "runs": runs,
    }
    file = keep(result, options.out, options.name, lambda found, picture: page(found))
    ratio = result["ratio"]
    print(f"ratio: {ratio['median']:.2f} (range {ratio['lowest']:.2f} to {ratio['highest']:.2f})")
    print(f"written: {file}, the page beside it")


if __name__ == "__main__":
    main()
