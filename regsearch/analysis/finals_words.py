"""The answer in words: one sentence a manager can read, and the table beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from regsearch.analysis.finals_summary import FinalsSummary
from regsearch.analysis.statistics import Contrast, Interval, metric_of
from regsearch.config.words import listed
from regsearch.space import TRAIN, active_regularizers, knob_of, regularizer_of, value_names
from regsearch.system.files import JsonObject

Row = tuple[str, str, str, str]
WITHOUT = "without regularization"


def describe(params: Mapping[str, float | str]) -> str:
    """Describe a setting in words: "L2 λ=0.003, dropout 0.31"; what is off is left out, empty when nothing is on.

    Args:
        params: the active knobs by flat name (`l2.strength`, `train.learning_rate`).
    """
    from regsearch.regularizers import all_regularizers  # imports torch, which reading a stored answer does not need

    rules = all_regularizers()
    grouped: dict[str, dict[str, float | str]] = {}
    for name, value in params.items():
        grouped.setdefault(regularizer_of(name), {})[knob_of(name)] = value
    words = []
    for group, knobs in grouped.items():
        strength = rules[group].strength_knob if group in rules else None
        key = strength.short if strength else ""
        if strength is None:
            words += [_knob(name, value) for name, value in knobs.items()]
        elif active_regularizers(params, [strength]):
            title = group.upper() if len(group) == 2 else group.replace("_", " ")
            sign = "λ=" if key == "strength" else ""
            values = value_names(params, strength.name)
            main = f"{title} {sign}{_reach([float(params[name]) for name in values])}"
            shapes = {
                name.removeprefix(f"{key}."): each for name, each in knobs.items() if f"{group}.{name}" not in values
            }
            others = [_knob(name, each) for name, each in shapes.items() if each != "constant"]
            words.append(main + (f" ({', '.join(others)})" if others else ""))
    return ", ".join(words)


def _reach(values: Sequence[float]) -> str:
    """The value of a strength, or how far those of its layers reach."""
    low, high = min(values), max(values)
    return f"{low:.2g}" if len(values) == 1 else f"{low:.2g} to {high:.2g} by layer"


def _knob(name: str, value: float | str) -> str:
    return f"{name.replace('_', ' ')} {value.replace('_', ' ') if isinstance(value, str) else f'{value:.2g}'}"


def baseline_label(params: Mapping[str, float | str]) -> str:
    """Describe the baseline in words: "without regularization", or what every trial of the study has on."""
    fixed = describe({name: value for name, value in params.items() if regularizer_of(name) != TRAIN})
    return f"with {fixed} alone" if fixed else WITHOUT


def answer(summary: FinalsSummary, rows: str = "rows", target: str | None = None) -> JsonObject:
    """Give the summary as JSON with its sentence; arguments as in `sentence`."""
    return {**summary.to_json(), "sentence": sentence(summary, rows, target)}


def sentence(summary: FinalsSummary, rows: str = "rows", target: str | None = None) -> str:
    """Say in one sentence what finals found, with the interval and whether the difference holds.

    Args:
        rows: what one row is, in the plural ("images", "patients").
        target: the name of the regression target, whose units the error has.
    """
    contrast = summary.contrast
    measure = _measure(summary, target)
    lead = f"On {_count(contrast.rows, 'unseen ' + rows)}, "
    winner, baseline = (measure.level(each.test_metric.value) for each in (summary.winner, summary.baseline))
    if summary.same:
        known = f"{lead}training {summary.baseline.label} {measure.verb} {baseline}{measure.note.rstrip(',')}"
        return f"{known}; the search found nothing better, so there is no difference to claim."
    model = f"the model found ({summary.winner.label or 'no regularization'})"
    text = f"{lead}{model} {measure.verb} {winner}{measure.note} against {baseline} {summary.baseline.label}: "
    text += measure.difference(contrast)
    if summary.left_out:
        seeds = contrast.seeds + summary.left_out
        text += f"; {summary.left_out} of {_count(seeds, 'seeds')} diverged and {_is(summary.left_out)} left out"
    return text + "."


def skipped(trials: int, label: str, best: float, baseline: float | None) -> str:
    """Write the sentence of a study without finals: what the search saw, and that it proves nothing.

    Args:
        trials: how many trials ended with a value.
        label: the best setting in words.
        best, baseline: validation loss of the best trial and of trial 0, None where that failed.
    """
    against = f" against {_significant(baseline)} {WITHOUT}" if baseline is not None else ""
    return (
        f"Finals were skipped, so nothing was tested on unseen data: the best of {_count(trials, 'trials')} "
        f"({label or 'no regularization'}) reached a validation loss of {_significant(best)}{against}, "
        "a number that flatters it, because the search chose by it."
    )


def table(summary: FinalsSummary) -> tuple[Row, list[Row]]:
    """Tabulate the answer as a header and rows of text: measure, winner, baseline, winner - baseline.

    The numbers of a row have the same decimals; an interval stands below what it belongs to.
    """
    one, other, contrast = summary.winner, summary.baseline, summary.contrast
    words = metric_of(contrast.metric).words
    share = 3 if metric_of(contrast.metric).higher_is_better else None
    change = Interval(contrast.difference, contrast.low, contrast.high)
    name = f"  {100 * contrast.level:g} % interval"
    rows = [
        ("trial", str(one.number), str(other.number), ""),
        ("setting", one.label or "no regularization", other.label, ""),
        *_compared("validation loss", _alone(one.val_loss), _alone(other.val_loss)),
        *_compared("gap to training loss", one.gap, other.gap, name),
        (words, "", "", ""),
        *_compared("  training", _alone(one.train_metric), _alone(other.train_metric), decimals=share),
        *_compared("  test", one.test_metric, other.test_metric, name, share, change),
    ]
    for measure in one.more:
        first, second = _alone(one.more[measure]), _alone(other.more.get(measure, math.nan))
        rows += _compared(f"  test {measure}", first, second, decimals=3)
    if not math.isnan(contrast.p_better):
        rows.append(("  p_better", "", "", f"{contrast.p_better:.2f}"))
    return ("", "winner", "baseline", "winner - baseline"), rows


ROLES = {"runner_up": "runner-up", "single": "best single", "default": "library default"}
_SURE = 0.001


def others(summary: FinalsSummary) -> list[tuple[str, ...]]:
    """Tabulate the other candidates as a header and rows of text: what each is, its setting, its test metric, winner -
    it, and the p-value of that by Holm's correction; an interval stands below what it belongs to.
    """
    share = 3 if metric_of(summary.contrast.metric).higher_is_better else None
    rows: list[tuple[str, ...]] = [("", "setting", "test", "winner - it", "p (Holm)")]
    for other in summary.others:
        contrast, test = other.contrast, other.summary.test_metric
        change = Interval(contrast.difference, contrast.low, contrast.high)
        decimals = _decimals(test.value) if share is None else share
        decimals = _enough([change.value], decimals)
        p = "" if math.isnan(other.p_adjusted) else f"{other.p_adjusted:.3f}"
        p = f"<{_SURE}" if other.p_adjusted < _SURE else p
        cells = _fixed(test.value, decimals), _fixed(change.value, decimals, "+")
        rows.append((ROLES.get(other.role, other.role), other.summary.label or "no regularization", *cells, p))
        if not math.isinf(change.low):
            spans = (_span(test, decimals, ""), _span(change, decimals, "+"))
            rows.append((f"  {100 * contrast.level:g} % interval", "", *spans, ""))
    return rows


def decided(summary: FinalsSummary) -> str:
    """Say by which validation losses the winner won; one alone has beaten nobody, and nothing is said."""
    rivals = [] if summary.same else [("baseline", summary.baseline.val_loss)]
    rivals += [(ROLES.get(other.role, other.role), other.summary.val_loss) for other in summary.others]
    if not rivals:
        return ""
    losses = [loss for loss in (summary.winner.val_loss, *(loss for _, loss in rivals)) if math.isfinite(loss)]
    decimals = _apart(losses, _decimals(max(losses, default=0.0)))
    cannot = {ROLES["default"]: " (which cannot win)"}
    words = [f"{_fixed(loss, decimals)} of the {role}{cannot.get(role, '')}" for role, loss in rivals]
    return f"won by validation loss: {_fixed(summary.winner.val_loss, decimals)} against {listed(words)}"


def held(summary: FinalsSummary) -> str:
    """Say in words how the finals were held."""
    contrast, cuts = summary.contrast, ""
    if summary.splits > 1:
        cuts = f" on {summary.splits} cuts of training and validation (prepared by the first)"
    return f"finals: {_count(contrast.seeds, 'fresh seeds')} each{cuts}, tested on {contrast.rows:,} sealed rows"


def flattery(summary: FinalsSummary) -> str:
    """Describe the optimism in words: how much more the search's own loss flatters the winner than the baseline."""
    much = summary.optimism
    decimals = _enough([much.value], _decimals(max(summary.winner.val_loss, summary.baseline.val_loss)))
    text = f"optimism {_fixed(much.value, decimals, '+')}"
    if not math.isinf(much.low):
        ends = (_fixed(end, decimals, "+") for end in (much.low, much.high))
        text += f" ({100 * summary.contrast.level:g} % interval {' to '.join(ends)})"
    return f"{text}: how much more the search's own validation loss flatters the winner than the baseline"


class _Share:
    """Balanced accuracy in words: percent and points."""

    verb = "is right in"
    note = " of cases, every class counting alike,"

    def level(self, value: float) -> str:
        return f"{100 * value:.1f} %"

    def difference(self, contrast: Contrast) -> str:
        gain = contrast.gain
        return _difference(Interval(100 * gain.value, 100 * gain.low, 100 * gain.high), contrast.level, 1, " points")


class _Error:
    """Root mean square error in words: in the target's units."""

    verb = "is typically off by"

    def __init__(self, summary: FinalsSummary, target: str | None) -> None:
        self.decimals = _decimals(max(summary.winner.test_metric.value, summary.baseline.test_metric.value))
        self.note = f" (root mean square error, in the units of {target or 'the target'})"

    def level(self, value: float) -> str:
        return _fixed(value, self.decimals)

    def difference(self, contrast: Contrast) -> str:
        return _difference(contrast.gain, contrast.level, self.decimals)


class _Perplexity(_Error):
    """Perplexity in words: among how many tokens the next one is as good as guessed."""

    verb = "has a perplexity of"

    def __init__(self, summary: FinalsSummary, target: str | None) -> None:
        super().__init__(summary, target)
        self.note = ""


def _measure(summary: FinalsSummary, target: str | None) -> _Share | _Error:
    """The words for the summary's metric."""
    name = summary.contrast.metric
    if name == "perplexity":
        return _Perplexity(summary, target)
    return _Share() if metric_of(name).higher_is_better else _Error(summary, target)


def _difference(gain: Interval, level: float, decimals: int, unit: str = "") -> str:
    """The difference, its interval and what to make of it; positive is better for the winner."""
    side = "better" if gain.value > 0 else "worse"
    if math.isinf(gain.low):
        text = _fixed(abs(gain.value), _enough([gain.value], decimals))
        return f"{text}{unit} {side}, but one seed cannot tell this from chance"
    decimals = _enough([gain.value, gain.low, gain.high], decimals)
    value, low, high = (_fixed(abs(each), decimals) for each in (gain.value, gain.low, gain.high))
    name = f"{100 * level:g} % interval"
    if gain.low > 0:
        return f"{value}{unit} better ({name} {low} to {high}); the difference holds"
    if gain.high < 0:
        return f"{value}{unit} worse ({name} {high} to {low} worse); the difference holds, against the model found"
    said = f"{value}{unit} {side}" if gain.value else "no difference"
    return f"{said} ({name} from {low} worse to {high} better); this may be chance"


def _count(number: int, plural: str) -> str:
    return f"{number:,} {plural.removesuffix('s') if number == 1 else plural}"


def _is(number: int) -> str:
    return "is" if number == 1 else "are"


def _fixed(value: float, decimals: int, sign: str = "") -> str:
    return f"{value:{sign},.{decimals}f}" if math.isfinite(value) else "unknown"


def _span(of: Interval, decimals: int, sign: str) -> str:
    return f"{_fixed(of.low, decimals, sign)} to {_fixed(of.high, decimals, sign)}"


def _decimals(value: float) -> int:
    """Decimals that show three significant digits of `value`."""
    return max(0, 2 - math.floor(math.log10(abs(value)))) if value else 2


def _apart(values: list[float], decimals: int) -> int:
    """`decimals`, or up to three more where numbers that differ from the first would read like it."""
    return _fewest(
        decimals, lambda more: all(v == values[0] or f"{v:.{more}f}" != f"{values[0]:.{more}f}" for v in values)
    )


def _enough(values: list[float], decimals: int) -> int:
    """`decimals`, or up to three more where a number that is not 0 would read as 0."""
    return _fewest(decimals, lambda more: all(value == 0 or float(f"{value:.{more}f}") for value in values))


def _fewest(decimals: int, do: Callable[[int], bool]) -> int:
    """The fewest decimals, from `decimals` to three more, that do; three more where none do."""
    return next((more for more in range(decimals, decimals + 3) if do(more)), decimals + 3)


def _significant(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "unknown"


def _alone(value: float) -> Interval:
    return Interval(value, -math.inf, math.inf)


def _compared(
    title: str,
    one: Interval,
    other: Interval,
    ends: str = "",
    decimals: int | None = None,
    change: Interval | None = None,
) -> list[Row]:
    """The row of a measure, and below it, titled `ends`, that of the intervals where there are any.

    Args:
        decimals: of all numbers in both rows; by default such that the larger value has three significant digits.
        change: one - other with its interval, where that is known.
    """
    change = change or _alone(one.value - other.value)
    known = [abs(each.value) for each in (one, other) if math.isfinite(each.value)]
    decimals = _decimals(max(known, default=0.0)) if decimals is None else decimals
    decimals = _enough([each for each in (change.value,) if math.isfinite(each)], decimals)
    cells = [(each, sign) for each, sign in ((one, ""), (other, ""), (change, "+"))]
    values = [_fixed(each.value, decimals, sign) for each, sign in cells]
    spans = ["" if math.isinf(each.low) else _span(each, decimals, sign) for each, sign in cells]
    rows = [(title, *values), (ends, *spans)] if any(spans) else [(title, *values)]
    return [(name, first, second, third) for name, first, second, third in rows]
