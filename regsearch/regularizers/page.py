"""The page of all regularizers, README.md beside this file; `python -m regsearch.regularizers.page` writes it anew.

It is made from the declarations alone, so it says what the search and the training step do.
"""

from __future__ import annotations

import sys
from pathlib import Path

from regsearch.regularizers import SITES, Regularizer, all_regularizers
from regsearch.regularizers.base import is_shipped
from regsearch.regularizers.words import number, paragraphs, searched, settings

PAGE = Path(__file__).with_name("README.md")

DOES_NOT_APPLY: tuple[tuple[str, str, str], ...] = (
    ("batches", "rows of codes", "codes name tokens, users or items: nothing to add to, mix or cut"),
    ("targets", "tasks without classes", "targets are values there, not distributions over classes"),
    ("norms", "models without hidden activations", "there is no dropout, marker or activation to act at"),
    ("activations", "models without hidden activations", "there is no dropout, marker or activation to act at"),
    ("stochastic_depth", 'models without Site("residual")', "there is no residual branch to skip"),
    ("jacobian", "rows of codes", "outputs have no derivative by a code"),
    ("jacobian", "models with convolutions or recurrent layers", "their packed forms have no second derivative"),
)
"""What does not apply where: (regularizer, or site for all of its rules; where; reason). A pack refuses it. The one
table that page and tests read: `regsearch.testing.exclusion` knows the words of `where`."""

_INTRODUCTION = """\
# The regularizers

<!-- Generated from the declarations: python -m regsearch.regularizers.page -->

Every rule below is one declaration in this folder: a frozen dataclass whose fields are its knobs and whose method is
its effect, written for one trial. The sections stand in the order of the training step. Each rule has one *strength*;
at its `off` value the effect is exactly the identity, and off is the default. The other knobs shape the effect and
mean nothing while it is off.

Under each table stand the lines for the `space` section of a study file, with the ranges that are searched where a
study names none. `dropout: search` is the same in short, `dropout: {p: 0.3}` holds a knob at one value in every trial.
A strength may also follow a `schedule` over the training, rise in a `warmup`, or differ `per: layer`, each of them
fixed or searched (`docs/howto/strengths.md` shows how); loops have no schedule, and only rules that act on each layer
by itself have `per`. `regsearch regularizers NAME` shows one rule on the command line.
"""
_HEADER = ("regularizer", "what it does", "knob", "searched", "off", "unit", "source")


def render() -> str:
    """Render the page as Markdown: a table per site for the rules of this package, outsiders' left out."""
    rules = {name: rule for name, rule in all_regularizers().items() if is_shipped(rule)}
    parts = [_INTRODUCTION]
    for site in SITES:
        members = [rule for rule in rules.values() if rule.site == site]
        parts += [_site(site, members)] if members else []
    parts.append(f"## What does not apply where\n\n{_exceptions(rules, DOES_NOT_APPLY)}\n")
    return "\n".join(parts)


def exceptions() -> str:
    """Write the table of what does not apply where."""
    return _exceptions(all_regularizers(), DOES_NOT_APPLY)


def site_base(rule: type[Regularizer]) -> type[Regularizer]:
    """Find the base class of a rule that names its site."""
    return next(each for each in reversed(rule.__mro__) if getattr(each, "site", "") == rule.site)


def _site(site: str, members: list[type[Regularizer]]) -> str:
    base = site_base(members[0])
    rows = [row for rule in members for row in _rows(rule)]
    notes = [f"- `{rule.name}`: {text}" for rule in members for text in paragraphs(rule)[1:]]
    space = [f"  {rule.name}: {{{', '.join(f'{k}: {v}' for k, v in settings(rule).items())}}}" for rule in members]
    blocks = [f"## {site}", "\n\n".join(paragraphs(base)), _table(_HEADER, rows)]
    blocks += ["\n".join(notes)] if notes else []
    blocks.append("\n".join(["```yaml", "space:", *space, "```"]))
    return "\n\n".join(blocks) + "\n"


def _rows(rule: type[Regularizer]) -> list[tuple[str, ...]]:
    """One row per knob; what belongs to the whole rule stands in the first."""
    source = getattr(rule, "source", None)
    link = f"[{source.authors} {source.year}]({source.url})" if source else ""
    rows: list[tuple[str, ...]] = []
    for index, knob in enumerate(rule.knobs):
        name, effect, origin = (f"`{rule.name}`", paragraphs(rule)[0], link) if index == 0 else ("", "", "")
        off = f"default {number(knob.default)}" if knob.off is None else number(knob.off)
        rows.append((name, effect, f"`{knob.short}`: {knob.doc}", searched(knob), off, knob.unit, origin))
    return rows


def _exceptions(rules: dict[str, type[Regularizer]], rows: tuple[tuple[str, str, str], ...]) -> str:
    unknown = sorted({name for name, _, _ in rows} - set(rules) - set(SITES))
    if unknown:
        raise ValueError(f"DOES_NOT_APPLY names {', '.join(unknown)}: no such regularizer or site")
    named = {name: f"all of `{name}`" if name in SITES else f"`{name}`" for name, _, _ in rows}
    cells: list[tuple[str, ...]] = [(named[name], where, why) for name, where, why in rows]
    table = _table(("regularizer", "where", "why"), cells)
    return table if rows else "No exception is known."


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    # A bar inside a cell is not a border.
    cells = ([each.replace("|", "\\|") for each in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
    sys.stderr.write(f"{PAGE} is written\n")
