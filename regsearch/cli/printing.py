"""What the command line prints on standard output, for people."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from regsearch.cli.setting_table import SETTING, setting_table
from regsearch.system.files import JsonMapping, JsonObject

if TYPE_CHECKING:
    from regsearch.analysis.importance import Importance
    from regsearch.core.cost import Cost
    from regsearch.workspace.answer import Answer
    from regsearch.workspace.status import StudyStatus

FRONT = 12
"""Trials of a front that are printed at most."""
COLUMNS = 20
"""Columns of a table that are printed at most."""


def print_answer(answer: Answer) -> None:
    """Print the trials and the best of them, the finals as a table with notes, the answer in a sentence, what to do
    next.
    """
    _print_search(answer)
    tables = answer_tables(answer)
    for rows in tables:
        _print(Text())
        _print(setting_table(rows, _width(), ruled=True) if SETTING in rows[0] else _answer_table(rows))
    if tables:
        _print(Text())
    for line in (*answer_notes(answer), speed(answer)):
        if line is not None:
            _print(Text(line))
    _print(Text.assemble("\n", (answer.sentence, "bold"), "\n"))
    _print(Text("browse it: regsearch ui"))


def answer_tables(answer: Answer) -> list[list[tuple[str, ...]]]:
    """Tabulate the finals: winner against baseline, then the other candidates; header and rows of each."""
    from regsearch.analysis.finals_words import others, table

    summary = answer.summary
    if summary is None:
        return []
    header, rows = table(summary)
    return [[header, *rows], *([others(summary)] if summary.others else [])]


def answer_notes(answer: Answer) -> list[str]:
    """Say what else a reader of the finals should know, a line each: how they were held, and what to allow for."""
    from regsearch.analysis.finals_words import decided, flattery, held

    summary = answer.summary
    if summary is None:
        return [answer.openings()] if answer.test_opened else []
    lines = [f"{held(summary)}; {answer.openings()}", *filter(None, [decided(summary)]), *summary.missing]
    return lines if summary.same else [*lines, flattery(summary)]


def speed(answer: Answer) -> str | None:
    """Say how the search spent its time, in a line; None where this run did not search."""
    timing = answer.timing
    if not {"search", "trial_steps_per_second", "outside_cpu_share", "waited_share"} <= timing.keys():
        return None
    width, workers = answer.pack["width"], answer.pack["workers"]
    packs = f"packs of {width}" if width > 1 else "one trial at a time"
    packs = f"{workers} workers with {packs}" if workers > 1 else packs
    rate = f"{timing['trial_steps_per_second']:,.0f} trial-steps per second"
    return (
        f"search: {timing['search']:.0f} s, {rate}, {packs}; "
        f"{timing['outside_cpu_share']:.0%} of CPU time outside packs, which waited {timing['waited_share']:.1%}"
    )


def _print_search(answer: Answer) -> None:
    """How many trials ended how, the best of them, constraints and the front."""
    trials = answer.complete + answer.pruned + answer.failed
    counts = f"{answer.complete} complete, {answer.pruned} pruned, {answer.failed} failed"
    seconds = answer.timing.get("total") if "search" in answer.timing else None  # else it is that of finals alone
    took = f" in {seconds:.0f} s" if seconds is not None else ""
    _print(Text.assemble("\n", (answer.study, "bold"), f": {trials} trials{took} ({counts})"))
    if answer.best:
        number, value, setting = answer.best["number"], answer.best["value"], _setting(answer.best["params"])
        among = f" in {next(iter(answer.front[0]['values']))}" if answer.front else ""
        _print(Text(f"best of the search{among}: trial {number}, value {value:.4g}: {setting}"))
    if answer.constraints is not None:
        constraints = answer.constraints
        asked = " and ".join(constraints["asked"])
        _print(Text(f"{constraints['kept_by']} of {constraints['of']} complete trials keep to {asked}"))
    if answer.front:
        _print_front(answer.front)


def _answer_table(rows: Sequence[tuple[str, ...]]) -> Table:
    table = Table(*rows[0], header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.columns[0].no_wrap = True
    for column in table.columns[1:]:
        column.overflow = "fold"
    for row in rows[1:]:
        table.add_row(*map(escape, row))
    return table


def _print_front(front: Sequence[JsonMapping]) -> None:
    """The Pareto front, the best in the first objective first: those that come first in it, spread over it."""
    objectives = list(front[0]["values"])
    shown = sorted(front[:FRONT], key=lambda each: [each["values"][name] for name in objectives])
    rows = [["trial", *objectives, SETTING]]
    for each in shown:
        values = [f"{each['values'][name]:.4g}" for name in objectives]
        rows.append([str(each["number"]), *values, _setting(each["params"])])
    more = f", {FRONT} of them here" if len(front) > FRONT else ""
    _print(Text(f"\nPareto front: no trial beats these {len(front)} in every objective{more}"))
    _print(setting_table(rows, _width(), ruled=False))


def print_status(status: StudyStatus) -> None:
    """Print how far a study is: its trials by state, the best so far, and the command that resumes it."""
    works = {True: "at work", False: "not at work", None: "not finished"}[status.running]
    _print(Text.assemble("\n", (status.study, "bold"), f": {status.ended:,} of {status.total:,} trials ended, {works}"))
    counts = {word: count for word, count in status.counts().items() if count or word == "complete"}
    if not status.running and "running" in counts:
        counts = {"begun" if word == "running" else word: count for word, count in counts.items()}
    _print(Text(", ".join(f"{count:,} {word}" for word, count in counts.items())))
    if status.best:
        against = "" if status.baseline is None else f" (baseline {status.baseline:.4g})"
        of = f"trial {status.best['number']}, {status.objective} {status.best['value']:.4g}{against}"
        _print(Text(f"best so far: {of}: {_setting(status.best['params'])}"))
    if status.finals:
        _print(Text(f"finals: {status.finals:,} trained"))
    if not status.running:
        _print(Text(f"\ngo on: regsearch study resume {status.study}"))


def print_studies(rows: list[JsonObject]) -> None:
    """Print one line per study."""
    table = _table("study", "begun", "trials", "answer", "data")
    for row in rows:
        begun = datetime.fromtimestamp(row["created_ms"] / 1000).strftime("%Y-%m-%d %H:%M")
        answered = "yes" if row["finished"] else "not yet: study resume"
        table.add_row(*(escape(str(each)) for each in (row["name"], begun, row["trials"], answered, row["source"])))
    _print(table)


def print_mapping(content: JsonMapping) -> None:
    """Print a nested mapping as `key  value` lines; inner keys are joined by dots."""
    lines = list(_flat(content))
    widest = max((len(name) for name, _ in lines), default=0)
    for name, value in lines:
        sys.stdout.write(f"{name:<{widest}}  {value}\n")


def print_plan(plan: JsonMapping) -> None:
    """Print what a study would do, and what each of the first columns becomes."""
    print_mapping({name: value for name, value in plan.items() if name != "features"})
    table = _table("column", "becomes")
    for column, words in [*plan["features"].items()][:COLUMNS]:
        table.add_row(_plain(column), _plain(words, 500))
    sys.stdout.write("\n")
    _print(table)
    if len(plan["features"]) > COLUMNS:
        sys.stdout.write(f"and {len(plan['features']) - COLUMNS:,} more\n")


def _plain(text: str, most: int = 40) -> str:
    """What people named, on one line: cut where it is long, and nothing in it is markup or moves the cursor."""
    line = "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)
    return escape(line if len(line) <= most else f"{line[: most - 3]}...")


def print_cost(cost: Cost) -> None:
    """Print what each regularizer adds to a training step of one trial, the dearest first."""
    way = f"packs of {cost.width}" if cost.width > 1 else "one trial at a time"
    how = "compiled" if cost.compiled else "operation by operation"
    sys.stdout.write(f"{cost.step * 1e6:.0f} µs per training step of one trial, on one core ({way}, {how})\n\n")
    table = _table("regularizer", "adds", "share of the step")
    for name, seconds in sorted(cost.rules.items(), key=lambda item: -item[1]):
        added, share = f"{seconds * 1e6:.1f} µs", f"{seconds / cost.step:.1%}"
        table.add_row(escape(name), *((added, share) if seconds > 0 else ("less than the noise", "")))
    _print(table)


def print_importance(importance: Importance) -> None:
    """Print what tells the best trials apart and what moves the loss, and where each knob's curve is lowest."""
    sys.stdout.write(f"what mattered over {importance.basis}\n\n")
    curves = {each.name: each for each in importance.dependence}
    table = _table("knob", "tells the best", "moves the loss", "lowest at", "tells the least gaps", "lowest at")
    for name, share in importance.loss.items():
        row = [name, f"{share:.1%}", f"{importance.moves[name]:.1%}", "", f"{importance.gap[name]:.1%}", ""]
        if name in curves:
            each = curves[name]
            row[3], row[5] = (
                _lowest(each.x, line, off) for line, off in ((each.loss, each.off_loss), (each.gap, each.off_gap))
            )
        table.add_row(*map(escape, row))
    for column in (1, 2, 4):
        table.columns[column].justify = "right"
    _print(table)
    sys.stdout.write(
        "\ntells the best (of the loss, of the gaps): share in what sets the best trials apart, by PED-ANOVA\n"
        "moves the loss: share of its variance over all trials, by the knob's own curve\n"
    )
    for harm in importance.ruins:
        sys.stdout.write(f"\n{harm.words()}\n")
    if importance.interaction is not None:
        two, h = importance.interaction, importance.interaction.h
        sys.stdout.write(
            f"\n{two.one} and {two.other} together: Friedman's H {h:.2f}, where 0 means that they add up\n"
        )


def _lowest(x: list[float], line: list[float], off: float | None) -> str:
    """The value of a knob at which its curve is lowest, or off."""
    best = min(range(len(x)), key=line.__getitem__)
    return "off" if off is not None and off <= line[best] else f"{x[best]:.2g}"


def print_regularizers() -> None:
    """List every regularizer under its site, in the order of the training step: strength, searched range and effect."""
    from itertools import groupby

    from regsearch.regularizers import all_regularizers
    from regsearch.regularizers.words import paragraphs, searched

    table = _table("regularizer", "strength, searched", "what it does")
    for site, rules in groupby(all_regularizers().values(), key=lambda rule: rule.site):
        table.add_row(f"[bold]{site}[/]")
        for rule in rules:
            knob = rule.strength_knob
            effect = paragraphs(rule)[0].split(": ")[0].split("; ")[0].rstrip(".")
            table.add_row(*map(escape, (f"  {rule.name}", f"{knob.short} {searched(knob)}", effect)))
    _print(table)
    sys.stdout.write("\none of them in full: regsearch regularizers NAME\n")


def print_regularizer(name: str) -> None:
    """Print one regularizer: what it does, its knobs, where it comes from, and how a study file searches or fixes it.

    Raises:
        UserError: there is no regularizer of this name.
    """
    from regsearch.config.words import unknown_regularizer
    from regsearch.regularizers import all_regularizers
    from regsearch.regularizers.words import number, paragraphs, searched, snippet

    rules = all_regularizers()
    if name not in rules:
        raise unknown_regularizer(name, rules, "NAME")
    rule = rules[name]
    _print(Text.assemble((name, "bold"), f"  (site: {rule.site})\n"))
    for paragraph in paragraphs(rule):
        _print(Text(f"{paragraph}\n"))
    table = _table()
    for knob in rule.knobs:
        unit = f" ({knob.unit})" if knob.unit and knob.unit not in knob.doc else ""
        default = f"off ({number(knob.default)})" if knob.is_strength else number(knob.default)
        limits = knob.allowed().removeprefix("numbers ")
        table.add_row(Text(knob.name, "bold"), Text(knob.doc + unit))
        table.add_row("", Text(f"searched {searched(knob)}; allowed {limits}; by default {default}"))
    _print(table)
    source = getattr(rule, "source", None)
    if source:
        sys.stdout.write(f"\nsource: {source}\n")
    sys.stdout.write("\n" + snippet(rule))


def _setting(params: Mapping[str, float | str]) -> str:
    """The active knobs of a trial in a line."""
    on = {name: value for name, value in params.items() if value not in (math.inf, -math.inf)}
    words = (f"{name} {each if isinstance(each, str) else f'{each:.4g}'}" for name, each in on.items())
    return ", ".join(words) or "every searched regularizer off"


def _flat(content: JsonMapping, prefix: str = "") -> Iterable[tuple[str, str]]:
    for name, value in content.items():
        if isinstance(value, list | tuple) and any(isinstance(each, Mapping) for each in value):
            value = {str(place): each for place, each in enumerate(value)}
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
            yield f"{prefix}{name}", f"{text:.6g}" if isinstance(text, float) else str(text)


def _table(*titles: str) -> Table:
    table = Table(
        *titles, header_style="bold", show_header=bool(titles), box=None, pad_edge=False, padding=(0, 2, 0, 0)
    )
    if titles:
        table.columns[0].no_wrap = True  # a name is there to be copied
    return table


def _width() -> int:
    return Console().width


def _print(what: RenderableType) -> None:
    """To standard output; where it is no terminal nothing is styled, and no line ends in blanks."""
    console = Console(highlight=False, emoji=False)
    if sys.stdout.isatty():
        console.print(what)
        return
    with console.capture() as capture:
        console.print(what)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in capture.get().splitlines()))
