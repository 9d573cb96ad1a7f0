"""The statistics, the page and the picture of null.py."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from null_arms import ARMS, FRESH_ROWS, FRESH_SEEDS, TRAIN
from scipy import stats

LEVEL = 0.95
FALSE, FOUND = 0.05, 0.95
"""The most false claims, and the least planted effects found."""
BINS = 10
Record = dict[str, Any]
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Share:
    """k of n, with the exact binomial interval (Clopper and Pearson 1934)."""

    k: int
    n: int

    @property
    def value(self) -> float:
        return self.k / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        if not self.n:
            return 0.0, 1.0
        found = stats.binomtest(self.k, self.n).proportion_ci(LEVEL, method="exact")
        return float(found.low), float(found.high)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.k} of {self.n} ({100 * low:.1f} to {100 * high:.1f} %)" if self.n else "none"

    def to_json(self) -> dict[str, Any]:
        return {"k": self.k, "n": self.n, "share": self.value if self.n else None, "interval": list(self.interval)}


def share(records: Iterable[Record], true: Callable[[Record], bool]) -> Share:
    found = [bool(true(each)) for each in records]
    return Share(sum(found), len(found))


def few_false(claims: Share) -> bool:
    """At most 5 % of the claims are false, within the binomial interval: it reaches down to 5 %."""
    return claims.n > 0 and claims.interval[0] <= FALSE


def enough_found(claims: Share) -> bool:
    """At least 95 % of the effects are found, the share itself and not its interval alone."""
    return claims.n > 0 and claims.value >= FOUND


def mean(values: Iterable[float]) -> tuple[float, float, float]:
    """Mean and Student's interval over studies."""
    x = np.array(list(values), float)
    if len(x) < 2:
        return float(x.mean()) if len(x) else math.nan, -math.inf, math.inf
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x)))
    return float(x.mean()), float(x.mean()) - half, float(x.mean()) + half


# What each way to read a search would claim of a study: that the setting it found is better than the baseline.
READERS: dict[str, tuple[str, Callable[[Record], bool]]] = {
    "regsearch": ("regsearch's `claim`", lambda each: each["claim"]),
    "naive": (
        "best validation loss of the search below the baseline's",
        lambda each: each["naive"]["best"] < each["naive"]["baseline"],
    ),
    "validation": ("a test of the best trial on the validation rows", lambda each: tested(each, "validation")),
    "better": (
        "the best trial is right more often, or nearer, on the test rows",
        lambda each: each["naive"]["test"]["better"],
    ),
    "test": ("a test of the best trial on the test rows", lambda each: tested(each, "test")),
}


def tested(record: Record, part: str) -> bool:
    """A plain two-sided test of the best trial against trial 0 on these rows is significant, and the best is better."""
    found = record["naive"][part]
    return found["better"] and found["p"] < 1 - LEVEL


def plain_test(predicted: Array, truth: Array, counts: bool) -> tuple[bool, float]:
    """Whether the first of two models, predictions [2, N], is better on these rows, and p of a two-sided test on them.

    For right and wrong McNemar's exact test, for squared errors Student's paired one. Neither knows of other seeds.
    """
    if not counts:
        first, second = (predicted - truth) ** 2
        p = float(stats.ttest_rel(first, second).pvalue) if (first != second).any() else 1.0
        return bool(first.mean() < second.mean()), p
    first, second = predicted == truth
    wins, losses = int((first & ~second).sum()), int((second & ~first).sum())
    p = float(stats.binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0
    return wins > losses, p


def optimism(record: Record) -> dict[str, float]:
    """Test loss - the validation loss that a setting was chosen by: of the search's best trial, and of its finals."""
    naive, finals = record["naive"], record["finals"]
    found = {name: finals[name]["test"] - finals[name]["validation"] for name in ("best", "baseline")}
    return {"search": naive["test"]["loss"][0] - naive["best"], **found}


def bins(records: Iterable[Record]) -> list[int]:
    """How many studies have their p_better in each tenth, those left out in which winner and baseline are one."""
    values = [each["p_better"] for each in records if not is_tie(each)]
    return np.histogram(values, BINS, (0, 1))[0].tolist()


def is_tie(record: Record) -> bool:
    """Winner and baseline predict the same: one setting, or one that does exactly nothing."""
    return record["same"] or (record["gain"][0] == 0 and record["p_better"] == 0.5)


def uniform(records: Iterable[Record]) -> float:
    """p of Kolmogorov and Smirnov's test that p_better is uniform, as it is where there is no effect."""
    values = [each["p_better"] for each in records if not is_tie(each)]
    return float(stats.kstest(values, "uniform").pvalue) if values else math.nan


def result_of(records: list[Record]) -> dict[str, Any]:
    """Every figure of the page from the studies' records."""
    by_arm = {name: [each for each in records if each["arm"] == name] for name in ARMS}
    by_arm = {name: found for name, found in by_arm.items() if found}
    groups = {
        truth: [each for name, found in by_arm.items() if ARMS[name].truth == truth for each in found]
        for truth in ("none", "planted", "shrinking")
    }
    arms = {}
    for name, found in by_arm.items():
        fresh = [each for each in found if "truth" in each]
        gaps = [optimism(each) for each in found]
        arms[name] = {
            "title": ARMS[name].title,
            "truth": ARMS[name].truth,
            "claims": {reader: share(found, claims).to_json() for reader, (_, claims) in READERS.items()},
            "baseline_won": sum(each["same"] for each in found),
            "ties": sum(map(is_tie, found)),
            "p_better": bins(found),
            "uniform": uniform(found),
            "gain": mean(each["gain"][0] for each in found),
            "optimism": {key: mean(each[key] for each in gaps) for key in gaps[0]},
            "truth_gain": mean(each["truth"]["gain"] for each in fresh) if fresh else None,
            "confirmed": share([e for e in fresh if e["claim"]], lambda each: each["truth"]["gain"] > 0).to_json(),
            "covered": share(
                [each for each in fresh if not is_tie(each)],
                lambda each: each["gain"][1] <= each["truth"]["gain"] <= each["gain"][2],
            ).to_json(),
            "seconds": sum(each["seconds"] for each in found) / len(found),
        }
    families = {
        "shuffled labels": by_arm.get("shuffled", []),
        "placebo": [each for name in ("placebo", "placebo-values") for each in by_arm.get(name, [])],
        "other coins": [each for name in ("coins", "coins-values") for each in by_arm.get(name, [])],
        "other coins, hardest": by_arm.get("coins-hardest", []),
        "planted": groups["planted"],
    }
    verdicts = {}
    for name, found in ((name, found) for name, found in families.items() if found):
        claims = share(found, READERS["regsearch"][1])
        wanted = enough_found if name == "planted" else few_false
        verdicts[name] = claims.to_json() | {"holds": wanted(claims)}
    return {"arms": arms, "verdicts": verdicts, "opened_once": all(each["decisions"] == 1 for each in records)}


def page(result: dict[str, Any], picture: str) -> str:
    """The results as a Markdown page with a picture of that name."""
    arms, host = result["arms"], result["machine"]
    planted, hardest = ARMS["planted"], ARMS["coins-hardest"]
    studies = sum(each["claims"]["regsearch"]["n"] for each in arms.values())
    sections = [
        "# Does the answer hold where the truth is known?",
        f"""`make null` ran {studies} whole studies on data made for them, so that the truth is known: where there is
nothing to be found every claim is false, where an effect was planted every missing claim is a miss. Each has a world,
rows, a split, a search of 24 settings and finals (the two best settings, the best with a single regularizer, the
library default and the baseline, on 10 paired seeds) of its own. Shares have exact 95 % binomial intervals (Clopper and
Pearson).""",
        _table(("kind of study", "claims", "wanted", "holds"), _verdicts(result["verdicts"])),
        f"""- **Shuffled labels**: the labels were permuted over all rows before the split; 16 hidden units, L1, L2 and
  dropout, each on or off. No model can truly be right in more than half of the cases, every class counting alike.
- **Placebo**: real labels, and two regularizers that do nothing at any dose. On paired seeds winner and baseline are
  the same to the last bit, so their difference is exactly 0: what is a lucky seed in the search is none in the finals.
- **Other coins**: dropout in every trial, the baseline's, too; the knob turns its coins, so settings differ in luck
  alone. This is the harder test, as nothing is the same to the bit. *Hardest*: the {hardest.top} best settings enter
  the finals, and {hardest.test:,} test rows, so that the luck of the seeds counts most. A setting chosen by the
  luck of its ten finals keeps it on the test rows.
- **Planted**: {planted.informative} of {planted.features} features say something, {TRAIN} rows to learn from. The size
  of the effect was set by a calculation of the power (`benchmarks/null_arms.py`) and tried on other seeds.""",
        "## What other readers of the same searches would have claimed",
        _table(("studies", *(words for words, _ in READERS.values())), _readers(arms)),
        """The last four see what most people see: the search's best trial, trained once, against trial 0. *A test* is
two-sided at 5 %, over rows: McNemar's exact one for classes, Student's paired one for values. On the test rows it is
honest about the two models, and says nothing of the settings: other seeds give other models. These readers count right
answers; of shuffled labels, too, a model can learn which class is the more frequent one, and be right more often.""",
        "## By kind of study",
        _table(
            (
                "studies",
                "n",
                "baseline won",
                "winner better by, measured",
                "truly better by",
                "interval holds the truth",
            ),
            _truths(arms),
        ),
        f"""In points of balanced accuracy, or in the target's own units (RMSE); the mean over studies and its 95 %
interval. *Truly*: {FRESH_ROWS:,} fresh rows and {FRESH_SEEDS} fresh seeds. {_shrinking(arms)}""",
        "## Optimism",
        _table(("studies", "best trial of the search", "winner's finals", "baseline's finals"), _optimism(arms)),
        """Test loss − the validation loss that it was chosen by, the mean over studies and its 95 % interval: by how
much the number flatters. The best of 24 validation losses is a lucky one. Of the finals the mean over ten seeds
decides, among a few candidates, and so does what is left of the luck. The claim rests on neither, but on the test
rows.""",
        "## `p_better` where there is nothing",
        f"![How often p_better falls in each tenth: evenly where there is no effect]({picture})",
        _table(
            ("studies", *(f"{k / BINS:.1f} to {(k + 1) / BINS:.1f}" for k in range(BINS)), "p, if even"), _bins(arms)
        ),
        """Where there is no effect each tenth should have as many (last column: Kolmogorov and Smirnov's test of that).
Studies in which winner and baseline predict the same are left out. Turned coins lean to the winner: it is chosen by the
finals that are tested, and luck that made these ten models better shows on the test rows, too. With two settings
beside the baseline at most twice 2.5 % of the claims are false for it, with five at most five times.""",
        f"""Python {host["python"]}, torch {host["torch"]}, optuna {host["optuna"]}; {host["cores"]} cores, load
{host["load"]:g}; {_seconds(arms)} s per study and process. Nothing here is a timing: a busy machine gives the same.
{"Every sealed test split was opened for one decision." if result["opened_once"] else ""}""",
    ]
    return "\n\n".join(sections) + "\n"


def _verdicts(verdicts: dict[str, Any]) -> list[list[str]]:
    found = []
    for name, each in verdicts.items():
        wanted = "≥ 95 % of ≥ 40" if name == "planted" else "≤ 5 %, within the interval"
        found.append([name, _share(each), wanted, "**yes**" if each["holds"] else "**no**"])
    return found


def _share(each: dict[str, Any]) -> str:
    return str(Share(each["k"], each["n"]))


def _readers(arms: dict[str, Any]) -> list[list[str]]:
    return [[each["title"], *(_short(each["claims"][reader]) for reader in READERS)] for each in arms.values()]


def _short(each: dict[str, Any]) -> str:
    low, high = each["interval"]
    return f"{100 * each['share']:.0f} % ({100 * low:.0f} to {100 * high:.0f})"


def _truths(arms: dict[str, Any]) -> list[list[str]]:
    found = []
    for name, each in arms.items():
        points = ARMS[name].task == "classification"
        none = "0" if each["truth"] == "none" else "-"
        truly = none if each["truth_gain"] is None else _gain(each["truth_gain"], points)
        covered = _share(each["covered"]) if each["covered"]["n"] else "-"
        n = each["claims"]["regsearch"]["n"]
        found.append([each["title"], str(n), str(each["baseline_won"]), _gain(each["gain"], points), truly, covered])
    return found


def _gain(each: Any, points: bool) -> str:
    if not points:
        return _span(each)
    return _span([100 * value for value in each], 1)


def _span(each: Any, digits: int = 3) -> str:
    value, low, high = each
    return f"{value:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"


def _shrinking(arms: dict[str, Any]) -> str:
    each = arms.get("shuffled-values")
    if each is None:
        return ""
    claims, confirmed = each["claims"]["regsearch"], each["confirmed"]
    return f"""Shuffled values are no null:
of noise, too, a shrunken model has the smaller RMSE, for it is nearer to the mean. There regsearch claimed
{_share(claims)}, and of these claims fresh rows confirm {confirmed["k"]} of {confirmed["n"]}."""


def _optimism(arms: dict[str, Any]) -> list[list[str]]:
    return [[each["title"], *(_span(span) for span in each["optimism"].values())] for each in arms.values()]


def _bins(arms: dict[str, Any]) -> list[list[str]]:
    found = []
    for each in arms.values():
        if sum(each["p_better"]):
            even = f"{each['uniform']:.2f}" if each["truth"] == "none" else "-"
            found.append([each["title"], *map(str, each["p_better"]), even])
    return found


def _seconds(arms: dict[str, Any]) -> str:
    low, high = (pick(each["seconds"] for each in arms.values()) for pick in (min, max))
    return f"{low:.1f}" if low == high else f"{low:.1f} to {high:.1f}"


def _table(head: tuple[str, ...], lines: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(each) + " |" for each in [head, ("---",) * len(head), *lines])


def draw(result: dict[str, Any], file: Path) -> None:
    """p_better in tenths: of the studies without an effect, and of those with a planted one."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from throughput_page import FAINT, INK, QUIET

    arms = result["arms"].values()
    kinds = {"nothing to be found": "none", "planted effect": "planted"}
    figure = Figure(figsize=(8, 3), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    for axes, (words, truth) in zip(figure.subplots(1, 2), kinds.items(), strict=True):
        counts = np.sum([each["p_better"] for each in arms if each["truth"] == truth] or [[0] * BINS], axis=0)
        axes.bar((np.arange(BINS) + 0.5) / BINS, counts, 0.9 / BINS, color="#0072B2")
        if truth == "none":
            axes.axhline(counts.sum() / BINS, color=INK, lw=1, ls="--")
            axes.annotate(
                "evenly", (0.01, counts.sum() / BINS), (0, 3), textcoords="offset points", color=INK, fontsize=8
            )
        axes.set_title(f"{words}: {counts.sum()} studies", fontsize=10, color=INK, loc="left")
        axes.set_xlabel("p_better", color=INK, fontsize=9)
        axes.set_ylabel("studies", color=INK, fontsize=9)
        axes.tick_params(colors=QUIET, labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(FAINT)
    figure.savefig(file, dpi=150)
