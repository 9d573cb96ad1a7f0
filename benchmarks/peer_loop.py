"""The loop that a user would write: Optuna asks, torch trains one trial after another, MLflow records nested runs.

It follows MLflow's own guide to hyperparameter search: a parent run, `study.optimize`, one nested run per trial,
`log_params` once, `log_metrics` with all metrics of an epoch at once. It is written to be fast: rows lie in memory and
are indexed by a permutation (no DataLoader), AdamW is fused, each split is evaluated in one pass per epoch, nothing is
printed, Optuna's storage is in memory, and given settings cost the sampler nothing.

    python benchmarks/peer_loop.py --settings settings.json --data FOLDER --store FOLDER --out result.json

`settings.json` is a list of settings, active knobs by flat name as regsearch writes them; without it Optuna's TPE draws
from the same space. Nothing of regsearch is imported.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

START = time.perf_counter()
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")

import mlflow  # noqa: E402  (the clock above counts what a user waits for, imports included)
import optuna  # noqa: E402
import torch  # noqa: E402
from stock_loop import Rows, Setting, build, evaluate, optimizer_of, train_epoch  # noqa: E402

KNOWN = {
    "l1.strength", "l2.strength", "elastic_net.strength", "elastic_net.l1_ratio", "weight_decay.strength",
    "dropout.p", "clip_by_norm.max_norm", "label_smoothing.epsilon", "input_noise.sigma",
}  # fmt: skip


class Clock:
    """Seconds per part of the work."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {"train": 0.0, "evaluate": 0.0, "mlflow": 0.0, "build": 0.0}

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[part] += time.perf_counter() - start


def run_trial(rows: Rows, setting: Setting, seed: int, options: argparse.Namespace, clock: Clock) -> float:
    """Train one setting and log every epoch to the active MLflow run; returns the last validation loss."""
    with clock("build"):
        torch.manual_seed(seed)
        model = build(rows.train_x.shape[1], rows.classes, options.hidden, setting.get("dropout.p", 0.0))
        optimizer = optimizer_of(model, setting, options.learning_rate)
    metrics: dict[str, float] = {}
    for epoch in range(1, options.epochs + 1):
        with clock("train"):
            train_epoch(model, optimizer, rows, setting, options.batch)
        with clock("evaluate"):
            metrics = evaluate(model, rows)
        if options.tracked:
            with clock("mlflow"):
                mlflow.log_metrics(metrics, step=epoch)
    return metrics["val_loss"]


def draw(trial: optuna.Trial) -> Setting:
    """The default space of regsearch, for runs without given settings."""
    setting: Setting = {}
    chosen = trial.suggest_categorical("regularizer", ["none", "l1", "l2", "elastic_net", "weight_decay"])
    if chosen != "none":
        low, high = {"l2": (1e-6, 1.0), "weight_decay": (1e-4, 10.0)}.get(chosen, (1e-6, 1e-1))
        setting[f"{chosen}.strength"] = trial.suggest_float(f"{chosen}.strength", low, high, log=True)
    if chosen == "elastic_net":
        setting["elastic_net.l1_ratio"] = trial.suggest_float("elastic_net.l1_ratio", 0.0, 1.0)
    setting["dropout.p"] = trial.suggest_float("dropout.p", 0.0, 0.8)
    setting["clip_by_norm.max_norm"] = trial.suggest_float("clip_by_norm.max_norm", 0.1, 10.0, log=True)
    return setting


def given(trial: optuna.Trial, setting: Setting) -> Setting:
    """The setting that this trial was enqueued with, asked for through Optuna as any other."""
    return {name: trial.suggest_float(name, value, value) for name, value in setting.items()}


def best_threads(rows: Rows, options: argparse.Namespace) -> tuple[int, dict[int, float]]:
    """Seconds of two epochs with one and with two threads (the better of three tries each), and the faster count."""
    setting = {"dropout.p": 0.3, "clip_by_norm.max_norm": 1.0, "l2.strength": 1e-4}
    short = argparse.Namespace(**{**vars(options), "epochs": 2, "tracked": False})
    seconds = {1: float("inf"), 2: float("inf")}
    for threads in (1, 2) * 4:
        torch.set_num_threads(threads)
        start = time.perf_counter()
        run_trial(rows, setting, 0, short, Clock())
        seconds[threads] = min(seconds[threads], time.perf_counter() - start)
    return min(seconds, key=lambda threads: seconds[threads]), seconds


def main() -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", help="JSON list of settings; without it Optuna's TPE draws them")
    parser.add_argument("--trials", type=int, help="how many trials (default: all settings, or 20)")
    parser.add_argument("--data", help="folder of train_x.npy, train_y.npy, validation_x.npy, validation_y.npy")
    parser.add_argument("--store", default="peer-store", help="folder of the MLflow store that is made")
    parser.add_argument("--out", help="where the result is written as JSON")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--hidden", type=int, nargs="+", default=[128, 128])
    parser.add_argument("--threads", type=int, default=0, help="0: the faster of 1 and 2, measured")
    parser.add_argument("--calibrate", action="store_true", help="measure the threads alone")
    options = parser.parse_args()
    options.tracked = True
    settings: list[Setting] | None = json.loads(Path(options.settings).read_text()) if options.settings else None
    unknown = {name for setting in settings or [] for name in setting} - KNOWN
    if unknown:
        parser.error(f"settings name knobs that this loop does not know: {', '.join(sorted(unknown))}")
    trials = options.trials or (len(settings) if settings else 20)

    rows = Rows(options.data)
    startup = time.perf_counter() - START
    threads, calibration = options.threads, {}
    if not threads:
        threads, calibration = best_threads(rows, options)
        print(f"threads: {threads} (seconds of a short run: {calibration})", flush=True)
    torch.set_num_threads(threads)
    measured = {"threads": threads, "calibration": {str(count): value for count, value in calibration.items()}}
    if options.calibrate:
        return save(measured, options.out)

    begun = time.perf_counter()
    store = Path(options.store).resolve()
    store.mkdir(parents=True, exist_ok=True)
    mlflow.set_tracking_uri(f"sqlite:///{store / 'mlflow.db'}")
    experiment = mlflow.create_experiment("peer", artifact_location=(store / "artifacts").as_uri())
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    startup += time.perf_counter() - begun

    clock = Clock()
    loop = time.perf_counter()

    def objective(trial: optuna.Trial) -> float:
        setting = draw(trial) if settings is None else given(trial, settings[trial.number])
        with clock("mlflow"):
            run = mlflow.start_run(nested=True, run_name=f"trial-{trial.number}")
        with run:
            with clock("mlflow"):
                mlflow.log_params(setting)
            value = run_trial(rows, setting, trial.number, options, clock)
            closing = time.perf_counter()
        clock.seconds["mlflow"] += time.perf_counter() - closing
        return value

    with mlflow.start_run(experiment_id=experiment, run_name="study"):
        mlflow.log_params({"epochs": options.epochs, "batch": options.batch, "learning_rate": options.learning_rate})
        study = optuna.create_study(direction="minimize", sampler=optuna.samplers.TPESampler(seed=0))
        study.optimize(objective, n_trials=trials)
        mlflow.log_metric("best_val_loss", study.best_value)
        mlflow.log_params({f"best.{name}": value for name, value in study.best_params.items()})
    seconds = time.perf_counter() - loop
    parts = {**clock.seconds, "optuna and the rest": seconds - sum(clock.seconds.values())}
    result = {
        "trials": trials,
        **measured,
        "startup_seconds": startup,
        "loop_seconds": seconds,
        "milliseconds_per_trial": {name: 1000 * value / trials for name, value in parts.items()},
        "values": [trial.value for trial in study.trials],
    }
    return save(result, options.out)


def save(result: dict[str, Any], out: str | None) -> dict[str, Any]:
    if out:
        Path(out).write_text(json.dumps(result, indent=2) + "\n")
    return result


if __name__ == "__main__":
    print(json.dumps({name: value for name, value in main().items() if name != "values"}, indent=2))
