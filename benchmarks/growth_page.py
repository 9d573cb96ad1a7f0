"""The page and the picture of growth.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from throughput_page import FAINT, INK, QUIET, SIZE

COLOURS = ("#D55E00", "#E69F00", "#CC79A7", "#0072B2", "#009E73")
BUSY = 0.9
WORDS = {
    "ask": ("the sampler's asks", "TPE is fitted again for every ask, to every trial so far"),
    "prune": ("the decisions at rungs", "Optuna's halving reads every trial so far for each of them"),
    "decide": ("the other decisions", "each report is a record in Optuna's journal"),
    "records": ("the outbox", "each report is a record"),
    "orders": ("the orders to the workers", "each is a remote call, and its answer is unpacked by the driver"),
    "commit": ("the commits", "each turn waits for the disk twice, and writes down every lane"),
}


REMEDY = """In this order:

1. **The sampler sees the latest 1,000 trials**, ended and running, by a `get_all_trials` that gives it no others. The
   row `tpe, last 1,000` was measured so, on Optuna's own code; studies of up to 1,000 trials keep their answers.
2. **Halving keeps the values of each rung sorted**, filled once from the storage. The decisions are Optuna's, and each
   is a search in a sorted list in place of a walk over all trials.
3. **An ask lists no trials.** Optuna's lists all of them to look for waiting ones, which `sampler: random` pays for,
   too, and lists them again for the sampler. The driver has them: it can draw by `sample_relative` and write the trial
   down with its numbers in one `create_new_trial`.
4. **The asks of a turn share a fit** of the sampler's model (in the table: 32 of them), each with candidates of its
   own: within a turn nothing is learned.

Then come the driver's memory, which keeps every report of trials that have ended, though the outbox has them, and the
clock, which writes down every lane each turn, where those that changed would do. An MLflow server lags long before: its
lane sends a trial at a time. The outbox keeps what it has not taken, so no training waits for it; the bulk writing
that SQLite gets would do for PostgreSQL, too."""


def page(result: dict[str, Any], picture: str) -> str:
    """The results as a Markdown page with a picture of that name."""
    host, what, costs = result["machine"], result["scenario"], result["costs"]
    parts, fleets = result["parts"], result["predicted"]
    now = fleets["as it is"]
    first = next((n for n, each in now.items() if each["busy"] < BUSY), None)
    last, each = list(now)[-1], f"{what['trials'] // what['gpus']:,}"
    versions = ", ".join(f"{name} {host[name]}" for name in ("python", "optuna", "mlflow", "ray"))
    busy = "**The machine was busy: wall times are too long.**" if host["load_before"] > host["cores"] else ""
    sections = [
        f"""# What grows with nodes, trials and metrics

Made by `benchmarks/growth.py` on {host["cpu"]}, {host["cores"]} cores, {host["system"]}; {versions}; load before the
measurement {host["load_before"]}. What computes is given in CPU time of its process, what waits in *wall* time.
{busy}""",
        _first(now, first, last, what),
        "![Milliseconds of the driver's decisions against the number of trials, and the share of the time in which GPUs"
        f" train against their number]({picture})",
        """## Cost of each part

Trials like those of [digits.yaml](../../../studies/digits.yaml): up to 30 epochs, asynchronous halving, TPE.""",
        _table(("part", *(f"after {int(n):,} trials" for n in parts["decisions"]["opening"])), _by_trials(parts)),
        _table(("part", "cost", "grows with"), _by_rest(parts, costs)),
        _kept(parts["search"], what["trials"]),
        f"""## {what["gpus"]:,} GPUs and {what["trials"]:,} trials

A queueing model of the driver's loop (`benchmarks/growth_model.py`) with the costs above: {what["slots"]} trials in
flight per GPU, {what["round"]:g} s per epoch of one cohort of a pack, {each} trials per GPU, one driver.
The last column has the largest parts of the driver's time; the rest it waits for the GPUs.""",
        _table(("driver", "GPUs train", "hours", "SQLite / server lags", "the driver's time"), _remedies(fleets)),
        REMEDY,
        f"""## How far the model holds

{_validation(result["validated"])} The GPUs of the table are the model's alone: no run here had more than two workers
that train, and up to {parts["orders"][-1]["workers"]:,} that answer at once.""",
    ]
    return "\n\n".join(sections) + "\n"


def _kept(search: dict[str, Any], trials: int) -> str:
    journal, outbox, memory = (search[f"{name}_bytes"] / search["trials"] for name in ("journal", "outbox", "memory"))
    epochs = search["reports"] / search["trials"]
    return f"""A trial of {epochs:.1f} epochs leaves {_bytes(journal)} in Optuna's journal,
{_bytes(outbox)} in the outbox and {_bytes(memory)} in the driver's memory: {_bytes(memory * trials)} for {trials:,}
trials. The object store holds a study's rows once per node; reports and orders travel in the calls themselves."""


def _first(now: dict[str, Any], first: str | None, last: str, what: dict[str, Any]) -> str:
    if first is None:
        return f"**No part is a bottleneck** up to {int(last):,} GPUs: they train {now[last]['busy']:.0%} of the time."
    spent = {name: share for name, share in now[first]["spent"].items() if name != "wait"}
    name = max(spent, key=lambda part: spent[part])
    words, why = WORDS[name]
    before = [n for n in now if int(n) < int(first)]
    until = f"up to {int(before[-1]):,} GPUs the driver keeps them busy; " if before else ""
    each = f"{what['trials'] // what['gpus']:,}"
    return (
        f"**The first bottleneck is {words}**: {why}. With {each} trials per GPU {until}with {int(first):,}"
        f" they train {now[first]['busy']:.0%} of the time, with {int(last):,} GPUs {now[last]['busy']:.2%}."
    )


def _by_trials(parts: dict[str, Any]) -> list[list[str]]:
    rows = []
    for variant, each in parts["decisions"]["cost"].items():
        rows.append([f"ask, {variant}", *(_ms(one["ask"]) for one in each.values())])
    tpe = parts["decisions"]["cost"]["tpe"].values()
    names = {"prune": "decision at a rung", "report": "decision between rungs", "tell": "end of a trial"}
    rows += [[words, *(_ms(one[name]) for one in tpe)] for name, words in names.items()]
    rows.append(
        ["reading the journal to resume", *(f"{each:.2g} s" for each in parts["decisions"]["opening"].values())]
    )
    return rows


def _by_rest(parts: dict[str, Any], costs: dict[str, Any]) -> list[list[str]]:
    few, many = parts["records"].values()
    counts = list(parts["records"])
    lanes = list(parts["decisions"]["commit"])
    commit = parts["decisions"]["commit"]
    orders = parts["orders"]
    ray, own = (parts["rounds"][place][-1] for place in ("ray", "processes"))
    report = f"{_us(few['report'])} or {_us(many['report'])}"
    sizes = f"{ray['report_bytes']:.0f} / {ray['load_bytes']:.0f}"
    rows = [
        [f"outbox, a report of {counts[0]} or {counts[1]} metrics", report, "metrics"],
        ["commit of a turn, outbox and journal (*wall*)", _ms(costs["commit"]), "turns"],
        [f"its clock with {int(lanes[-1]):,} trials in flight", _ms(commit[lanes[-1]]["cpu"]), "trials in flight"],
        [
            "orders of a round and their answers, "
            + " / ".join(f"{each['workers']:,}" for each in orders)
            + " workers",
            " / ".join(_ms(each["seconds"]) for each in orders),
            "workers, trials in flight",
        ],
        [
            "the same by Ray, per worker and per report",
            f"{_us(costs['order'])} and {_us(costs['wire'])}",
            "workers, reports",
        ],
        [
            "reports per second from two workers that train next to nothing, processes / Ray (*wall*)",
            f"{own['reports_per_second']:,.0f} / {ray['reports_per_second']:,.0f}",
            "",
        ],
        ["bytes of a report / of an order that begins a trial", sizes, "reports"],
        ["bytes in the object store of each node", _bytes(ray["bundle_bytes"]), "rows, nodes"],
    ]
    for store in ("sqlite", "postgresql"):
        low, high = parts[store]
        clock = "cpu" if store == "sqlite" else "seconds"
        name = "MLflow in SQLite" if store == "sqlite" else "MLflow's server on PostgreSQL (*wall*)"
        each = [f"{1e3 * one[clock] / one['trials']:.1f}" for one in (low, high)]
        what = f"a trial delivered with {low['metrics']} or {high['metrics']} metrics per epoch to {name}"
        rows.append([what, " or ".join(each) + " ms", "epochs, metrics"])
    return rows


def _remedies(fleets: dict[str, Any]) -> list[list[str]]:
    rows = []
    for name, each in fleets.items():
        last = list(each.values())[-1]
        spent = sorted(((v, k) for k, v in last["spent"].items() if k != "wait"), reverse=True)[:3]
        shares = ", ".join(f"{part} {share:.0%}" for share, part in spent if share >= 0.005)
        lag = f"{last['lag'] / 3600:.1f} h / {last['server_lag'] / 3600:.1f} h"
        rows.append([name, f"{last['busy']:.2%}", f"{last['seconds'] / 3600:,.1f}", lag, shares])
    return rows


def _validation(found: dict[str, Any]) -> str:
    took = {name: f"{e['measured']:.1f} s, in the model {e['model']:.1f} s" for name, e in found.items()}
    reports = {name: "{:,} and {:,} reports".format(*each["reports"]) for name, each in found.items()}
    driver, study = found["driver"], found["study"]
    return (
        f"A search of {driver['trials']} trials with workers that answer at once took {took['driver']} of the driver's"
        f" CPU time ({reports['driver']})."
        f" A search of {study['trials']} trials on two workers by `--ray local`, whose rounds took"
        f" {1e3 * study['round']:.0f} ms, took {took['study']} ({reports['study']})."
    )


def draw(result: dict[str, Any], path: Path) -> None:
    """Left: the driver's decisions against trials. Right: how busy GPUs are against their number."""
    figure = Figure(figsize=(8.4, 4.3), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    costs = result["parts"]["decisions"]["cost"]
    trials = [int(n) for n in costs["tpe"]]
    for (variant, each), colour in zip(costs.items(), COLOURS, strict=False):
        asks = [1e3 * one["ask"] for one in each.values()]
        left.plot(trials, asks, color=colour, linewidth=1.6, marker="o", markersize=3.5, label=f"ask, {variant}")
    rungs = [1e3 * one["prune"] for one in costs["tpe"].values()]
    left.plot(trials, rungs, color=QUIET, linewidth=1.6, marker="s", markersize=3.5, label="decision at a rung")
    left.set_yscale("log")
    _style(left, "trials so far", "milliseconds")
    for (name, each), colour in zip(result["predicted"].items(), COLOURS, strict=False):
        busy = [100 * one["busy"] for one in each.values()]
        right.plot([int(n) for n in each], busy, color=colour, linewidth=1.6, marker="o", markersize=3.5, label=name)
    right.set_ylim(-3, 103)
    trials_each = result["scenario"]["trials"] // result["scenario"]["gpus"]
    _style(right, f"GPUs, {trials_each:,} trials each (model)", "% of the time that GPUs train")
    figure.savefig(path, dpi=200, metadata={"Software": None})


def _style(axes: Axes, across: str, up: str) -> None:
    axes.set_xscale("log")
    axes.set_xlabel(across, fontsize=SIZE, color=INK)
    axes.set_ylabel(up, fontsize=SIZE, color=INK)
    axes.tick_params(labelsize=SIZE - 1, colors=QUIET, labelcolor=INK)
    axes.grid(True, color=FAINT, linewidth=0.5)
    axes.legend(fontsize=SIZE - 2, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.17))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.2g} ms" if seconds < 0.1 else f"{1e3 * seconds:,.0f} ms"


def _us(seconds: float) -> str:
    return f"{1e6 * seconds:,.0f} µs"


def _bytes(count: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} bytes"


def _table(head: tuple[str, ...], rows: list[list[str]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(each) + " |" for each in lines)
