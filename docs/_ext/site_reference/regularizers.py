"""The regularizers as pages, one per site, read from their declarations as the page in the package is."""

from __future__ import annotations

from regsearch.regularizers import SITES, Regularizer, all_regularizers
from regsearch.regularizers.base import is_shipped
from regsearch.regularizers.page import exceptions, site_base
from regsearch.regularizers.words import number, paragraphs, searched, snippet
from regsearch.space import Knob
from site_reference.markdown import anchor, code, fields, first_sentence, heading, one_line, page, table

_INTRODUCTION = """
Every rule has one *strength*; at its `off` value the effect is exactly the identity, and off is the default. Its other
knobs shape the effect and mean nothing while it is off. The pages stand in the order of the training step.
`dropout: search` in the section [`space`](#section-space) of a study file searches all knobs of a rule over the ranges
that stand here; `regsearch regularizers NAME` shows one on the command line.
"""


def rules_by_site() -> dict[str, list[type[Regularizer]]]:
    """List regsearch's own rules by their site, in the order of the training step."""
    own = [rule for rule in all_regularizers().values() if is_shipped(rule)]
    return {site: [rule for rule in own if rule.site == site] for site in SITES}


def pages() -> dict[str, str]:
    """Give every page of the regularizers by its name."""
    sites = rules_by_site()
    return {"index": _index(sites), **{site: _site(site, rules) for site, rules in sites.items()}}


def in_words(rule: type[Regularizer]) -> str:
    """Name a rule as one says it: `Weight decay`, `L1`.

    >>> from regsearch.regularizers.decay import WeightDecay
    >>> in_words(WeightDecay)
    'Weight decay'
    """
    if rule.__name__.isupper() or len(rule.name) <= 3:
        return rule.__name__
    return rule.name.replace("_", " ").capitalize()


def _index(sites: dict[str, list[type[Regularizer]]]) -> str:
    rows = [
        (
            f"[{in_words(rule)}]({site}.md#{anchor('regularizer', rule.name)})",
            f"`{rule.name}`",
            first_sentence(rule.summary()),
        )
        for site, rules in sites.items()
        for rule in rules
    ]
    return page(
        heading(1, "Regularizers", "regularizers"),
        one_line(_INTRODUCTION),
        "A rule of your own: [Regularizers of your own](../api/regularizers.md).",
        table(("regularizer", "in a study file", "what it does"), rows),
        heading(2, "What does not apply where"),
        exceptions(),
        code("{toctree}", ":hidden:\n\n" + "\n".join(f"{site.capitalize()} <{site}>" for site in sites)),
    )


def _site(site: str, rules: list[type[Regularizer]]) -> str:
    base = site_base(rules[0])
    words = f"Regularizers of {site}"
    about = f"Rules of this site derive from {{py:class}}`~regsearch.regularizers.{base.__name__}`."
    blocks = [heading(1, words, anchor("site", site)), *paragraphs(base), about]
    for rule in rules:
        blocks += _rule(rule)
    return page(*blocks)


def _rule(rule: type[Regularizer]) -> list[str]:
    source = getattr(rule, "source", None)
    rows = [("Name", f"`{rule.name}`")]
    rows += [("Source", f"[{source.authors} {source.year}]({source.url})")] if source else []
    rows += [("Tracked besides", ", ".join(f"`{each}`" for each in rule.tracks))] if rule.tracks else []
    knobs = [(f"`{each.short}`", each.doc, searched(each), _off(each), each.unit) for each in rule.knobs]
    return [
        heading(2, in_words(rule), anchor("regularizer", rule.name)),
        *paragraphs(rule),
        fields(rows),
        table(("knob", "what it is", "searched", "off", "unit"), knobs),
        code("yaml", snippet(rule)),
    ]


def _off(knob: Knob) -> str:
    return f"default {number(knob.default)}" if knob.off is None else number(knob.off)
