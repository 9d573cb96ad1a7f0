"""A comparison of studies in words: the sentence, the tables and the notes that the terminal and the page share."""

from __future__ import annotations

import itertools
import math
from statistics import median

from regsearch.analysis.paired_tests import LEVEL, Pair, smallest_units
from regsearch.analysis.statistics import Interval, metric_of
from regsearch.analysis.study_comparison import Comparison, StudySummary
from regsearch.config.words import listed

Table = tuple[list[str], list[list[str]]]
MINUS = "\N{MINUS SIGN}"


def sentence(comparison: Comparison) -> str:
    """Say which of those compared ranks best, and over which of the others that holds."""
    units = (
        _count(len(comparison.units), comparison.unit)
        if comparison.units
        else _count(_most(comparison), comparison.unit)
    )
    where = f"on the unseen rows of {comparison.studies[0].data}, " if comparison.unit == "seed" else ""
    best = comparison.compared[0]
    rank = f" (mean rank {comparison.ranks[best]:.2f} of {len(comparison.compared)})" if comparison.ranks else ""
    if not comparison.pairs:
        return f"No two of these studies share a final seed, so {where}nothing is tested."
    over = f"Over {units}" if comparison.unit == "data set" else f"O{where[1:]}over {units} in pairs"
    first = [name for name, each in comparison.ranks.items() if each == comparison.ranks[best]]
    if len(first) > 1:
        rank = f" with {listed(first[1:])}{rank}"
    own = [pair for pair in comparison.pairs if pair.first == best]
    held = [pair for pair in own if pair.holds]
    text = f"{over}, {best} ranks best{rank}"
    if held:
        parts = [
            f"{pair.second} by {difference(pair.difference, comparison)} (p = {p_value(pair.p_holm)})" for pair in held
        ]
        text += f"; it is better than {listed(parts)}"
        rest = [pair.second for pair in own if not pair.holds]
        return f"{text}; against {listed(rest)} the difference may be chance." if rest else f"{text}."
    if all(pair.powerless for pair in own):
        return f"{text}, but nothing can be told apart: {_powerless(own[0], len(comparison.pairs), comparison.unit)}."
    return f"{text}, but none of its differences holds: they may be chance."


def study_table(comparison: Comparison) -> Table:
    """Tabulate the studies: trials, gaps of complete trials, best validation loss, answer on unseen rows, its gap."""
    metric = metric_of(comparison.metric)
    arrow = "\N{UPWARDS ARROW}" if metric.higher_is_better else "\N{DOWNWARDS ARROW}"
    head = ["study", "method", "data", "trials", "gap of trials, 10 to 90 %", "best val. loss"]
    head += [f"{metric.words} {arrow}, unseen rows", "baseline", "gap of finals"]
    one = comparison.unit == "seed"
    drop = {1} if one and all(each.method == each.study for each in comparison.studies) else set()
    drop |= {2} if one else set()
    rows = [_study(each, comparison) for each in comparison.studies]
    return _without(head, drop), [_without(row, drop) for row in rows]


def _study(each: StudySummary, comparison: Comparison) -> list[str]:
    gap = f"{each.gap.value:.3g} ({each.gap.low:.3g} to {each.gap.high:.3g})"
    trials = f"{each.complete} of {each.complete + each.pruned + each.failed}"
    test, baseline = level(each.test, comparison), "" if each.baseline is None else value(each.baseline, comparison)
    final = _plain(each.final_gap)
    return [each.study, each.method, each.data, trials, gap, f"{each.best:.4g}", test, baseline, final]


def score_table(comparison: Comparison) -> Table:
    """Tabulate what each of those compared reached in each unit, a row each, with half its interval over seeds.

    The best of a row is marked with an asterisk. Below them the mean ranks, and the median over data sets of the gap.
    """
    units = list(dict.fromkeys(itertools.chain.from_iterable(comparison.scores.values())))
    rows = []
    spans = (
        {(each.method, each.data): each.test for each in comparison.studies} if comparison.unit == "data set" else {}
    )
    for number, unit in enumerate(units, 1):
        row = {name: comparison.scores[name].get(unit) for name in comparison.compared}
        known = [comparison.sign * each for each in row.values() if each is not None]
        cells = []
        for name, score in row.items():
            span = spans.get((name, unit))
            text = (
                ""
                if score is None
                else value(score, comparison)
                if span is None
                else level(span, comparison, short=True)
            )
            cells.append(text + ("*" if score is not None and comparison.sign * score >= max(known) - 1e-12 else ""))
        rows.append([unit if comparison.unit == "data set" else str(number), *cells])
    if comparison.ranks:
        rows.append(["mean rank", *(f"{comparison.ranks[name]:.2f}" for name in comparison.compared)])
    if comparison.unit == "data set":
        gaps = {
            name: [each.final_gap.value for each in comparison.studies if each.method == name]
            for name in comparison.compared
        }
        rows.append(["gap, median", *(f"{median(gaps[name]):.2g}" for name in comparison.compared)])
    return [comparison.unit, *comparison.compared], rows


def pair_table(comparison: Comparison) -> Table:
    """Tabulate the pairs: difference with its interval, in how many units, effect size, p-values, what is needed."""
    many = f"{comparison.unit}s"
    head = ["better", "than", f"by, median ({100 * LEVEL:g} % interval)", f"better/same/worse {many}", "effect"]
    head += ["p", "p (Holm)", "verdict", "80 % power needs"]
    return head, [
        [
            pair.first,
            pair.second,
            difference(pair.difference, comparison, interval=True),
            f"{pair.better}/{pair.same}/{pair.worse}",
            f"{pair.effect:+.2f}".replace("-", MINUS),
            p_value(pair.p),
            p_value(pair.p_holm),
            "holds" if pair.holds else f"too few {many}" if pair.powerless else "may be chance",
            needs(pair, comparison.unit),
        ]
        for pair in comparison.pairs
    ]


def notes(comparison: Comparison) -> list[str]:
    """List what else to know, a sentence each: what has no power, what is not paired, what the tests count."""
    lines = []
    if comparison.unit == "data set":
        shown = f"{metric_of(comparison.metric).words}{' in percent' if _share(comparison) else ''} on unseen rows"
        lines.append(
            f"Data sets: {shown}, mean over seeds ± half its {100 * LEVEL:g} % interval over them; * the best."
        )
    without = [pair for pair in comparison.pairs if pair.powerless]
    if without:
        lines.append(f"{_powerless(without[0], len(comparison.pairs), comparison.unit)}.")
    for one, other in comparison.unpaired:
        lack = "share no final seed (finals share seeds where search.seed is the same)"
        lack = lack if comparison.unit == "seed" else "share no data set"
        lines.append(f"{one} and {other} {lack}: their difference is not tested, since unpaired it would mislead.")
    counted = "p: exact Wilcoxon signed-rank tests, Holm's correction over "
    counted += f"{_count(len(comparison.pairs), 'pair')}; intervals are of one pair each; "
    counted += "effect: matched-pairs rank-biserial correlation."
    if comparison.pairs:
        lines.append(counted)
    if comparison.unit == "seed":
        lines.append(
            "Seeds vary the training alone: other data may rank these studies otherwise; compare over data sets."
        )
    elif not math.isnan(comparison.p_ranks):
        lines.append(f"Friedman's test that all rank alike: p = {p_value(comparison.p_ranks)}.")
    return lines + list(comparison.notes)


def needs(pair: Pair, unit: str) -> str:
    """Say how many units, or seeds per unit, would show an effect of this size at 80 % power; nothing if these did."""
    if pair.holds:
        return ""
    if pair.needed is None:
        return "no effect seen"
    text = _count(pair.needed, unit)
    if pair.seeds is not None:
        text += f" or {pair.seeds} seeds"
    return text


def value(score: float, comparison: Comparison) -> str:
    """Format a value of the metric, in percent where it is a share."""
    return f"{100 * score:.1f} %" if _share(comparison) else f"{score:.4g}"


def level(score: Interval, comparison: Comparison, short: bool = False) -> str:
    """Format the metric with its interval; `short` gives it half the interval's width after a plus-minus sign."""
    if math.isinf(score.low):
        return value(score.value, comparison)
    if short:
        half = (score.high - score.low) / 2
        scaled = (f"{100 * score.value:.1f}", f"{100 * half:.1f}") if _share(comparison) else None
        one, other = scaled or (f"{score.value:.4g}", f"{half:.2g}")
        return f"{one} \N{PLUS-MINUS SIGN} {other}"
    low, high = max(score.low, 0.0), min(score.high, 1.0) if _share(comparison) else score.high
    return (
        f"{value(score.value, comparison)} ({value(low, comparison).removesuffix(' %')} to {value(high, comparison)})"
    )


def difference(change: Interval, comparison: Comparison, interval: bool = False) -> str:
    """Format a difference in the metric, in points where it is a share; with `interval`, its interval as well."""
    scale, unit = (100.0, " points") if _share(comparison) else (1.0, "")

    def text(number: float) -> str:
        return f"{scale * number:.2g}".replace("-", MINUS) if number else "0"

    said = text(change.value)
    said += unit.removesuffix("s") if said == "1" else unit
    if not interval:
        return said
    if math.isinf(change.low):
        return f"{said} (no interval)"
    return f"{said} ({text(change.low)} to {text(change.high)})"


def p_value(p: float) -> str:
    """Format a p-value with two digits, or as the bound below which it lies.

    >>> p_value(0.0312), p_value(0.00001), p_value(1.0)
    ('0.031', '< 0.0001', '1')
    """
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def _powerless(pair: Pair, pairs: int, unit: str) -> str:
    over = f" after Holm's correction over {_count(pairs, 'pair')}" if pairs > 1 else ""
    enough = f"at least {_count(smallest_units(pairs), unit)} are needed"
    return f"{_count(pair.units, unit)} cannot give p < {p_value(pair.smallest)}{over}, {enough}"


def _most(comparison: Comparison) -> int:
    return max((pair.units for pair in comparison.pairs), default=0)


def _share(comparison: Comparison) -> bool:
    return metric_of(comparison.metric).higher_is_better


def _plain(span: Interval) -> str:
    if math.isinf(span.low):
        return f"{span.value:.3g}"
    return f"{span.value:.3g} ({span.low:.3g} to {span.high:.3g})"


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _without(cells: list[str], dropped: set[int]) -> list[str]:
    return [each for place, each in enumerate(cells) if place not in dropped]
