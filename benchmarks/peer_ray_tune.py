"""The sweep that a user of Ray Tune would write: a function trainable, `OptunaSearch`, ASHA, `MLflowLoggerCallback`.

A process per trial, which trains by the stock loop and reports every epoch by `tune.report`. It is set up to be fast:

- one CPU and one torch thread per trial, as many trials at once as there are cores;
- processes import torch alone, not MLflow or Optuna, and get the rows once through the object store;
- with `--reuse-actors` a process goes on with another trial when its own has ended;
- no logger but the callback to MLflow, no artifacts, no progress output, no dashboard, no usage statistics.

    python benchmarks/peer_ray_tune.py --data FOLDER --store FOLDER --out result.json [--reuse-actors] [--untracked]

The space is that of studies/digits.yaml. Nothing of regsearch is imported.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

START = time.perf_counter()
# Read by ray when it is imported, and by the processes of the trials when torch loads.
os.environ.update({
    "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0", "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true",
})  # fmt: skip

import optuna  # noqa: E402  (the clock above counts what a user waits for, imports included)
import ray  # noqa: E402
from ray import tune  # noqa: E402
from ray.air.integrations.mlflow import MLflowLoggerCallback  # noqa: E402
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler  # noqa: E402
from ray.tune.search.optuna import OptunaSearch  # noqa: E402
from stock_loop import Rows, build, evaluate, optimizer_of, train_epoch  # noqa: E402

METRIC = "val_loss"
REDUCTION = 3


def draw(trial: optuna.Trial) -> dict[str, float]:
    """The space of studies/digits.yaml: one penalty or none, dropout and a clip norm beside it."""
    chosen = trial.suggest_categorical("regularizer", ["none", "l1", "l2", "elastic_net", "weight_decay"])
    if chosen != "none":
        low, high = {"l2": (1e-6, 1.0), "weight_decay": (1e-4, 10.0)}.get(chosen, (1e-6, 1e-1))
        trial.suggest_float(f"{chosen}.strength", low, high, log=True)
    if chosen == "elastic_net":
        trial.suggest_float("elastic_net.l1_ratio", 0.0, 1.0)
    trial.suggest_float("dropout.p", 0.0, 0.7)
    trial.suggest_float("clip_by_norm.max_norm", 0.1, 10.0, log=True)
    return {}


def train(config: dict[str, Any], rows: Rows, epochs: int, batch: int, learning_rate: float, hidden: list[int]) -> None:
    """Train one trial and report each of its epochs."""
    import torch

    torch.set_num_threads(1)
    setting = {name: value for name, value in config.items() if name != "regularizer"}
    model = build(rows.train_x.shape[1], rows.classes, hidden, setting["dropout.p"])
    optimizer = optimizer_of(model, setting, learning_rate)
    for _ in range(epochs):
        train_epoch(model, optimizer, rows, setting, batch)
        tune.report(evaluate(model, rows))


def asha(epochs: int) -> ASHAScheduler:
    """Asynchronous halving from a tenth of the epochs on."""
    return ASHAScheduler(max_t=epochs, grace_period=max(1, round(epochs / 10)), reduction_factor=REDUCTION)


def sweep(options: argparse.Namespace) -> tune.ResultGrid:
    """All trials; returns when the last one has ended."""
    store = Path(options.store).resolve()
    store.mkdir(parents=True, exist_ok=True)
    recipe = {name: getattr(options, name) for name in ("epochs", "batch", "learning_rate", "hidden")}
    callbacks = [MLflowLoggerCallback(tracking_uri=f"sqlite:///{store / 'mlflow.db'}", experiment_name="peer")]
    trainable = tune.with_parameters(train, rows=Rows(options.data), **recipe)
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        tune_config=tune.TuneConfig(
            metric=METRIC,
            mode="min",
            search_alg=OptunaSearch(
                draw, metric=METRIC, mode="min", sampler=optuna.samplers.TPESampler(seed=options.seed)
            ),
            scheduler=asha(options.epochs) if options.scheduler == "asha" else FIFOScheduler(),
            num_samples=options.trials,
            reuse_actors=options.reuse_actors,
        ),
        run_config=tune.RunConfig(
            name="peer", storage_path=str(store / "tune"), callbacks=[] if options.untracked else callbacks, verbose=0
        ),
    )
    return tuner.fit()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=128)
    parser.add_argument("--data", help="folder of train_x.npy, train_y.npy, validation_x.npy, validation_y.npy")
    parser.add_argument("--store", default="peer-store", help="folder of the MLflow store that is made")
    parser.add_argument("--out", help="where the result is written as JSON")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--hidden", type=int, nargs="+", default=[128, 128])
    parser.add_argument("--scheduler", choices=("asha", "none"), default="asha")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--reuse-actors", action="store_true")
    parser.add_argument("--untracked", action="store_true", help="without MLflow")
    options = parser.parse_args()

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    ray.init("local", num_cpus=options.cores, object_store_memory=1 << 28, **quiet)
    startup = time.perf_counter() - START
    begun = time.perf_counter()
    results = sweep(options)
    seconds = time.perf_counter() - begun
    ray.shutdown()
    if results.errors:
        raise SystemExit(f"{len(results.errors)} trials failed: {results.errors[0]}")
    result = {
        "trials": len(results),
        "epochs": sum(one.metrics["training_iteration"] for one in results if one.metrics),
        "startup_seconds": startup,
        "sweep_seconds": seconds,
        "best": results.get_best_result().metrics[METRIC],
    }
    text = json.dumps(result, indent=2)
    if options.out:
        Path(options.out).write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
