"""The throughput's aims, its page, and its picture: how many times the stock loop's rate packs reach, against T."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

NEVER_BELOW = 1.0
SHARE, SHARE_OF = 0.45, "mlp-128"
RATE = "reproducible, the shapes of the pack"
"""The rate of batched products that the share is of: in the pack's own mode and shapes, heads not padded."""
INDEPENDENT = 0.90
INK, QUIET, FAINT, PACKS, AIM = "#222222", "#5f5f5f", "#d9d9d9", "#0072B2", "#D55E00"
SIZE = 9.0


def aims(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Each aim with its figure (a median), what is wanted of it at least, and whether it is met."""
    models = found["models"]
    wanted = [(f"{name}, times the best stock loop", each["ratio"], each["aim"]) for name, each in models.items()]
    lowest = min(models.values(), key=lambda each: each["ratio"]["median"])["ratio"]
    wanted.append(("the lowest of these models", lowest, NEVER_BELOW))
    if SHARE_OF in models:
        share = models[SHARE_OF]["products"]["share"][RATE]
        wanted.append((f"{SHARE_OF}, share of the rate of batched products", share, SHARE))
    for name, each in found["independence"].items():
        wanted.append((f"{name}, share of the rate without independence", each["ratio"], INDEPENDENT))
    return [
        {"aim": aim, "figure": each["median"], "wanted": least, "met": each["median"] >= least, "range": each}
        for aim, each, least in wanted
    ]


def page(result: dict[str, Any], picture: str) -> str:
    """The results as a Markdown page with a picture of that name."""
    host, models = result["machine"], result["models"]
    versions = ", ".join(f"{name} {host[name]}" for name in ("python", "torch", "numpy"))
    parts = [
        f"""# Training throughput of the whole machine

Medians of {result["repeats"]} repeats, ranges in brackets; the variants of a model in turn,
{result["seconds_per_turn"]:g} s of wall time each. Training alone: no evaluation, no search, no tracking.
{host["cpu"]}, {host["cores"]} cores, {host["system"]}; {versions}; load before the measurement {host["load_before"]};
compiler {host["compiler"]}; {result["seconds"]} s in all.""",
        "## Aims",
        _table(("aim", "wanted", "figure", ""), [_aim(each) for each in result["aims"]]),
        f"""## Trial-steps per second

Packs: a process per core, one thread and one pack of T slots each, no regularizers; T is what a study's calibration
chooses. Stock loop: the best of {{a process per core, a thread per core}} × {{fused, foreach Adam}}, for pictures also
with channels last. `modelbatch` {result["modelbatch"]} and plain `torch.func.vmap`: a process per core, fused Adam,
the best of their widths. T = 1 means one trial at a time, which calibration chooses where it is faster.""",
        _table(
            ("model", "regsearch", "T", "stock loop", "which", "plain vmap", "modelbatch", "times stock"),
            [_rates(name, each) for name, each in models.items()],
        ),
        f"![Times the stock loop's trial-steps per second, against the width of the pack]({picture})",
        """Lines are medians, bands the range; the ring is the width of the table, the dashed line the aim.

## What a step's time goes into

Shares of the wall time of the steps above by operation, as torch's profiler has them, by itself; `Python` is what no
operation accounts for.""",
        "\n".join(f"- {name}{_uncompiled(each)}: {_profile(each)}." for name, each in models.items()),
    ]
    if any("products" in each for each in models.values()):
        parts += [
            """## Useful matrix operations

The products of forward and backward pass (6 B Σ I O operations, less the first layer's slopes of its inputs) by the
wall time of whole steps, against `torch.bmm` alone in turn with them. `reproducible` is the mode of the packs
(`MKL_CBWR=AVX2`). Packs do not pad the 10-wide head; of padded products only the useful part counts. The aim is held
against the first row of a model. GFLOP/s of all cores:""",
            _table(
                ("model", "step", "products", "GFLOP/s", "share"),
                [row for name, each in models.items() if "products" in each for row in _products(name, each)],
            ),
        ]
    if result["independence"]:
        parts += [
            """## The cost of independence

Packs with dropout on in every trial, against the same packs without reproducible products (`MKL_CBWR` unset), without
gaps between parameters, and with dropout from torch's one generator or, where that is faster, from the trials' own
streams. Trial-steps per second:""",
            _table(
                ("model", "T", "variant", "rate", "independent / this"),
                [row for name, each in result["independence"].items() for row in _independence(name, each)],
            ),
        ]
    return "\n\n".join(parts) + "\n"


def draw(models: dict[str, Any], path: Path) -> None:
    """One small picture per model, all on the same scales; both axes are logarithmic."""
    columns = min(4, len(models))
    lines = math.ceil(len(models) / columns)
    figure = Figure(figsize=(1.2 + 1.55 * columns, 0.9 + 1.7 * lines), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    places = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    for axes, (name, each) in zip(places.flat, models.items(), strict=False):
        _curve(axes, name, each)
    for axes in list(places.flat)[len(models) :]:
        axes.set_visible(False)
    figure.supxlabel("T, slots of a pack", fontsize=SIZE, color=INK)
    figure.supylabel("times the best stock loop", fontsize=SIZE, color=INK)
    figure.savefig(path, dpi=200, metadata={"Software": None})


def _curve(axes: Axes, name: str, each: dict[str, Any]) -> None:
    curve = each["curve"]
    widths = [int(width) for width in curve]
    middle, low, high = ([one[key] for one in curve.values()] for key in ("median", "lowest", "highest"))
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.axhline(1, color=QUIET, linewidth=0.9)
    axes.axhline(each["aim"], color=AIM, linewidth=1.1, linestyle=(0, (4, 2)))
    axes.fill_between(widths, low, high, color=PACKS, alpha=0.2, linewidth=0)
    axes.plot(widths, middle, color=PACKS, linewidth=1.6, marker="o", markersize=3.5)
    chosen = curve[str(each["width"])]["median"]
    axes.plot(each["width"], chosen, "o", markersize=8, markerfacecolor="none", color=PACKS)
    axes.set_title(f"{name}: {chosen:.3g} × (aim {each['aim']:g})", fontsize=SIZE - 1, color=INK)
    axes.xaxis.set_major_locator(FixedLocator(widths))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(FixedLocator([0.25, 0.5, 1, 2, 4, 8, 16, 32]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.tick_params(labelsize=SIZE - 2, colors=QUIET, labelcolor=INK)
    axes.grid(True, color=FAINT, linewidth=0.5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _aim(each: dict[str, Any]) -> list[str]:
    verdict = "met" if each["met"] else f"**missed** by {1 - each['figure'] / each['wanted']:.0%}"
    return [each["aim"], f"≥ {each['wanted']:g}", _spread(each["range"], 2), verdict]


def _rates(name: str, each: dict[str, Any]) -> list[str]:
    rates = each["trial_steps_per_second"]
    ours, stock = rates[f"regsearch T={each['width']}"], rates[each["best_stock"]]
    which = each["best_stock"].removeprefix("stock, ")
    others = [_other(each, kind) for kind in ("plain vmap", "modelbatch")]
    return [name, _spread(ours, 0), str(each["width"]), _spread(stock, 0), which, *others, _spread(each["ratio"], 2)]


def _other(each: dict[str, Any], kind: str) -> str:
    rates = each["trial_steps_per_second"]
    name = next((name for name in rates if name.startswith(kind)), None)
    if name is None:
        return f"does not train: {each['failed'][kind]}"
    return f"{_spread(rates[name], 0)}, {name.removeprefix(kind).strip()}"


def _profile(each: dict[str, Any]) -> str:
    return ", ".join(f"{name} {share:.0%}" for name, share in each["profile"].items() if share >= 0.005)


def _uncompiled(each: dict[str, Any]) -> str:
    return f" (not compiled: {each['uncompiled']})" if "uncompiled" in each else ""


def _products(name: str, each: dict[str, Any]) -> list[list[str]]:
    found = each["products"]
    step = f"{found['step']['median']:.1f}"
    return [
        [name, step, variant, _spread(rate, 1), _spread(found["share"][variant], 2)]
        for variant, rate in found["batched"].items()
    ]


def _independence(name: str, each: dict[str, Any]) -> list[list[str]]:
    rates, ours = each["trial_steps_per_second"], each["trial_steps_per_second"]["independent"]["median"]
    return [
        [name, str(each["width"]), variant, _spread(rate, 0), f"{ours / rate['median']:.2f}"]
        for variant, rate in rates.items()
    ]


def _spread(each: dict[str, float], digits: int) -> str:
    return f"{each['median']:.{digits}f} [{each['lowest']:.{digits}f}, {each['highest']:.{digits}f}]"


def _table(head: tuple[str, ...], rows: list[list[str]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(each.replace("|", "/") for each in line) + " |" for line in lines)
