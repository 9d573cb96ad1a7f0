"""Trials per second of regsearch on Ray against plain Ray Tune, on the space of studies/digits.yaml: `make bench-ray`.

Both sides search the same space with TPE for the same number of trials, epochs and rows, with asynchronous halving at
the same rungs, every epoch in a fresh local MLflow store, on all cores, as whole processes with imports and start-up.
Plain Ray Tune is `OptunaSearch` with `MLflowLoggerCallback` (see peer_ray_tune.py), once with a process per trial and
once with processes that go on with the next trial. The sides are interleaved. Which trials end early differs, as each
decides by itself: the page has the epochs trained, too, and `--scheduler none` trains every trial to its end.

    python benchmarks/ray_tune.py [--trials 128] [--repeats 3] [--fresh-repeats 1] [--scheduler none] [--name NAME]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from archive import keep
from bench import HERE, epochs_in, in_words, machine, summary, timed

AIM = 10.0
OURS, FRESH, REUSED = "regsearch", "Ray Tune, a process per trial", "Ray Tune, processes reused"
STUDY = HERE.parent / "studies" / "digits.yaml"
LOADER = Path("mlruns") / "studies" / "digits" / "data"


def study(options: argparse.Namespace) -> dict[str, Any]:
    """The study file of studies/digits.yaml with this many trials and no finals, which the peer has not."""
    from regsearch.config.yaml12 import read_yaml

    found: dict[str, Any] = read_yaml(STUDY.read_text())
    found["train"]["epochs"] = options.epochs
    found["search"] = {"trials": options.trials, "parallel": 8 if options.engine == "ray_tune" else 32, "seed": 0}
    if options.engine == "ray_tune":
        found["search"] |= {"engine": "ray_tune", "algorithm": "optuna", "scheduler": options.scheduler}
    else:
        found["search"] |= {"sampler": "tpe", "pruner": options.scheduler}
    found["finalize"] = {"seeds": 0}
    return found


def run_ours(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    (folder / "digits.yaml").write_text(yaml.safe_dump(study(options)))
    command = [str(Path(sys.executable).with_name("regsearch")), "study", "start", "digits.yaml", "--json"]
    seconds, out = timed([*command, "--ray", "local"], folder)
    answer = json.loads(out)
    if sum(answer["trials"].values()) != options.trials:
        sys.exit(f"regsearch ended {answer['trials']}, {options.trials} trials were asked for")
    epochs = epochs_in(folder / "mlruns" / "mlflow.db")
    after = answer["timing"]["total"] - answer["timing"]["start"]
    given = {name: answer[name] for name in ("trials", "pack", "timing")}
    return {"seconds": seconds, "sweep_seconds": after, "epochs": epochs, "best": answer["best"]["value"], **given}


def run_peer(folder: Path, data: Path, fresh: bool, options: argparse.Namespace) -> dict[str, Any]:
    out = folder / "peer.json"
    command = [sys.executable, str(HERE / "peer_ray_tune.py"), "--data", str(data), "--store", str(folder / "store")]
    command += ["--trials", str(options.trials), "--epochs", str(options.epochs), "--scheduler", options.scheduler]
    seconds, _ = timed([*command, *([] if fresh else ["--reuse-actors"]), "--out", str(out)], folder)
    report = json.loads(out.read_text())
    found = epochs_in(folder / "store" / "mlflow.db")
    if (report["trials"], report["epochs"]) != (options.trials, found):
        sys.exit(f"the peer ended {report['trials']} trials of {report['epochs']} epochs, its store has {found}")
    return {"seconds": seconds, **report}


def measured(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """All sides in turn, forwards and backwards; the peer trains on the rows that regsearch sealed first."""
    runs: dict[str, list[dict[str, Any]]] = {OURS: [], REUSED: [], FRESH: []}
    most = {OURS: options.repeats, REUSED: options.repeats, FRESH: options.fresh_repeats}
    with tempfile.TemporaryDirectory(prefix="regsearch-ray-") as name:
        data = Path(name) / "data"
        for repeat in range(options.repeats):
            for side in runs if repeat % 2 == 0 else reversed(runs):
                if repeat >= most[side]:
                    continue
                folder = Path(name) / f"run-{repeat}"
                folder.mkdir()
                one = run_ours(folder, options) if side == OURS else run_peer(folder, data, side == FRESH, options)
                if not data.exists():
                    shutil.copytree(folder / LOADER, data)
                one |= {"rate": options.trials / one["seconds"], "epoch_rate": one["epochs"] / one["seconds"]}
                one |= {"sweep_rate": options.trials / one["sweep_seconds"]}
                runs[side].append(one)
                print(
                    f"{side} {repeat + 1}: {one['rate']:.2f} trials/s ({one['seconds']:.0f} s, {one['epochs']} epochs)",
                    flush=True,
                )
                shutil.rmtree(folder)
    return {side: each for side, each in runs.items() if each}


def compared(runs: dict[str, list[dict[str, Any]]], key: str) -> dict[str, dict[str, float]]:
    """How many times a peer's rate regsearch has, repeat by repeat; a peer that ran less often by its own repeats."""
    return {
        side: summary([ours[key] / theirs[key] for ours, theirs in zip(runs[OURS], rates, strict=False)])
        for side, rates in runs.items()
        if side != OURS
    }


RATES = ("rate", "sweep_rate", "epoch_rate")
"""Trials per second of the whole process, trials per second once it has started, epochs per second of the whole."""


def verdicts(rates: dict[str, dict[str, float]]) -> str:
    """Against which peers the aim is met, by the medians."""
    return "; ".join(f"{'met' if each['median'] >= AIM else 'missed'} against {side}" for side, each in rates.items())


def page(result: dict[str, Any]) -> str:
    """The result as a short Markdown page."""
    what, host, runs = result["workload"], result["machine"], result["runs"]
    versions = ", ".join(f"{n} {v}" for n, v in host.items() if n not in ("cpu", "cores", "system", "load_before"))
    rows = []
    for side, each in runs.items():
        columns = [spread([one[key] for one in each]) for key in RATES]
        epochs, best = (statistics.median(one[key] for one in each) for key in ("epochs", "best"))
        times = [""] * len(RATES) if side == OURS else [in_words(result["times"][key][side]) for key in RATES]
        rows.append(
            [
                side,
                str(len(each)),
                f"{epochs:.0f}",
                f"{best:.4f}",
                *(w for p in zip(columns, times, strict=True) for w in p),
            ]
        )
    last = runs[OURS][-1]
    pack, start, search = last["pack"], last["timing"]["start"], last["timing"]["search"]
    return f"""# {what["trials"]} trials of studies/digits.yaml on Ray, against plain Ray Tune

At most {what["epochs"]} epochs, batch 16, hidden [128, 128], 300 training rows; TPE; scheduler {what["scheduler"]};
every epoch in a local MLflow store. Trials per second of the whole process, of what follows its start-up (imports, Ray,
compiling, measuring the width), and epochs per second of the whole; `×` is how many times the peer's rate regsearch
has, run by run. Medians, ranges in brackets.

| side | runs | epochs | best loss | trials/s | × | trials/s once started | × | epochs/s | × |
|---|---|---|---|---|---|---|---|---|---|
{chr(10).join("| " + " | ".join(row) + " |" for row in rows)}

- Aim: {AIM:g} times the trials per second: {verdicts(result["times"]["rate"])}.
- Machine: {host["cpu"]}, {host["cores"]} cores, {host["system"]}, load before {host["load_before"]}; {versions}.
- regsearch: engine {what["engine"]}, `--ray local`, {pack["workers"]} workers with packs of {pack["width"]};
  of the last run {start:.0f} s went by before its search began, {search:.0f} s in it.
- Ray Tune: one CPU and one torch thread a trial, `OptunaSearch` (TPE), the stock loop with fused AdamW, rows through
  the object store; `MLflowLoggerCallback` is the only logger, it writes what Tune reports besides the metrics, too.
- Best losses and epochs differ by which settings each side drew and ended.
"""


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} [{min(values):.2f}, {max(values):.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--fresh-repeats", type=int, default=1, help="of the peer with a process per trial")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--scheduler", choices=("asha", "none"), default="asha")
    parser.add_argument(
        "--engine", choices=("ray_tune", "optuna"), default="ray_tune", help="regsearch's search.engine"
    )
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the results")
    parser.add_argument("--name", default="ray-tune", help="of the result files")
    options = parser.parse_args()
    if min(options.trials, options.repeats, options.epochs) < 1 or options.fresh_repeats > options.repeats:
        parser.error("trials, repeats and epochs must be at least 1, fresh repeats at most as many as repeats")

    load = round(os.getloadavg()[0], 2)
    runs = measured(options)
    times = {key: compared(runs, key) for key in RATES}
    result = {
        "workload": {name: getattr(options, name) for name in ("trials", "epochs", "scheduler", "engine")},
        "machine": {**machine(), "ray": version("ray"), "load_before": load},
        "times": times,
        "runs": runs,
    }
    print(f"written: {keep(result, options.out, options.name, lambda found, picture: page(found))}")
    for side, each in times["rate"].items():
        print(f"{in_words(each)} times {side}; once started {in_words(times['sweep_rate'][side])}")
    print(f"at least {AIM:g} times: {verdicts(times['rate'])}")


if __name__ == "__main__":
    main()
