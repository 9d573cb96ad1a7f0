"""What the command line prints on standard output, for people."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from regsearch.errors import UserError

if TYPE_CHECKING:
    from regsearch.answer import Answer
    from regsearch.regularizers import Regularizer
    from regsearch.space import Knob


def print_answer(answer: Answer) -> None:
    """The trials in one line, the finals as a table, the best setting, one sentence, and where to go on."""
    console = _console()
    counts = f"{answer.complete} complete, {answer.pruned} pruned, {answer.failed} failed"
    seconds = answer.timing.get("total")
    took = f" in {seconds:.0f} s" if seconds is not None else ""
    console.print(
        f"\n[bold]{escape(answer.study)}[/]: {answer.complete + answer.pruned + answer.failed} trials{took} ({counts})"
    )
    rows = answer.finals_table()
    if rows:
        table = Table(*rows[0], header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
        for column in table.columns[1:]:
            column.overflow = "fold"
        for row in rows[1:]:
            table.add_row(*map(escape, row))
        console.print(table)
    if answer.best:
        params = {name: value for name, value in answer.best["params"].items() if abs(value) != float("inf")}
        setting = ", ".join(f"{name} {value:.4g}" for name, value in params.items()) or "every searched regularizer off"
        number, value = answer.best["number"], answer.best["value"]
        console.print(f"best of the search: trial {number} ({value:.4g}): {setting}")
    console.print()
    console.print(Text(answer.sentence, "bold"))
    console.print("\nbrowse it: regsearch ui")


def print_studies(rows: list[dict[str, Any]]) -> None:
    """One line per study."""
    table = _table("study", "begun", "trials", "answer", "data")
    for row in rows:
        begun = datetime.fromtimestamp(row["created_ms"] / 1000).strftime("%Y-%m-%d %H:%M")
        answered = "yes" if row["finished"] else "not yet: study resume"
        table.add_row(*(escape(str(each)) for each in (row["name"], begun, row["trials"], answered, row["source"])))
    _console().print(table)


def print_mapping(found: Mapping[str, Any]) -> None:
    """A nested mapping as `key  value` lines; inner keys are joined by dots."""
    lines = list(_flat(found))
    widest = max((len(name) for name, _ in lines), default=0)
    for name, value in lines:
        sys.stdout.write(f"{name:<{widest}}  {value}\n")


def print_regularizers() -> None:
    """Every regularizer in the order of the training step: its strength, searched range and off value."""
    from regsearch.regularizers import all_regularizers

    table = _table("regularizer", "site", "strength", "searched", "off", "what it does")
    for name, rule in all_regularizers().items():
        knob = rule.strength_knob
        short = knob.name.partition(".")[2]
        summary = rule.summary().split(": ")[0].split("; ")[0].rstrip(".")
        table.add_row(*map(escape, (name, rule.site, short, _searched(knob), _number(knob.off), summary)))
    _console(wide=110).print(table)


def print_regularizer(name: str) -> None:
    """One regularizer: what it does, its knobs, where it comes from, and how a study file searches or fixes it.

    Raises:
        UserError: there is no regularizer of this name.
    """
    from regsearch.config.words import one_of
    from regsearch.regularizers import all_regularizers

    rules = all_regularizers()
    if name not in rules:
        raise UserError("unknown regularizer", key="NAME", value=name, allowed=one_of(rules, name))
    rule = rules[name]
    console = _console()
    console.print(f"[bold]{name}[/] (site: {rule.site})\n")
    console.print(Text(_docstring(rule)))
    console.print()
    table = _table("knob", "searched", "allowed", "default", "unit", "what it is")
    for knob in rule.knobs:
        default = "off" if knob.is_strength else _number(knob.default)
        table.add_row(*map(escape, (knob.name, _searched(knob), _limits(knob), default, knob.unit, knob.doc)))
    console.print(table)
    if getattr(rule, "source", None):
        console.print(Text(f"\nsource: {rule.source}"), soft_wrap=True)
    sys.stdout.write("\n" + snippet(rule))


def snippet(rule: type[Regularizer]) -> str:
    """Lines for a study file: the rule searched over its declared bounds, and what else may stand there."""
    strength = rule.strength_knob.name.partition(".")[2]
    lines = ["space:", f"  {rule.name}:"]
    for knob in rule.knobs:
        short = knob.name.partition(".")[2]
        lines.append(f"    {short}: {{low: {_yaml(knob.low)}, high: {_yaml(knob.high)}, log: {str(knob.log).lower()}}}")
    fixed = f"{rule.name}: {{{strength}: {_yaml(rule.strength_knob.high)}}}"
    lines.append(f"  # or {rule.name}: search, or fixed in every trial: {fixed}")
    return "\n".join(lines) + "\n"


def _docstring(rule: type[Regularizer]) -> str:
    import inspect

    paragraphs = (inspect.getdoc(rule) or "").split("\n\n")
    return "\n\n".join(" ".join(each.split()) for each in paragraphs)


def _searched(knob: Knob) -> str:
    return f"{_number(knob.low)} to {_number(knob.high)}{' (log)' if knob.log else ''}"


def _limits(knob: Knob) -> str:
    return knob.allowed().removeprefix("numbers ")


def _number(value: float | None) -> str:
    return "" if value is None else "∞" if value == float("inf") else f"{value:g}"


def _yaml(value: float) -> str:
    return f"{value:g}"


def _flat(found: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for name, value in found.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
            yield f"{prefix}{name}", f"{text:.6g}" if isinstance(text, float) else str(text)


def _table(*titles: str) -> Table:
    table = Table(*titles, header_style="bold", box=None, pad_edge=False)
    table.columns[0].no_wrap = True  # a name is there to be copied
    return table


def _console(wide: int | None = None) -> Console:
    """Standard output; where it is no terminal nothing is styled, and `wide` columns are used."""
    return Console(width=None if sys.stdout.isatty() else wide, highlight=False)
