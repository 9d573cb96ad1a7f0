"""A regularizer in words: what the command line and the generated page both say of it."""

from __future__ import annotations

import inspect
import math
import re

from regsearch.regularizers.base import Regularizer
from regsearch.space import Knob


def paragraphs(described: type[Regularizer]) -> list[str]:
    """List the paragraphs of a rule's or a site's docstring, one line each."""
    return [" ".join(each.split()) for each in (inspect.getdoc(described) or "").split("\n\n")]


def number(value: float) -> str:
    """Format `value` as a person and a study file write it: `0.3`, `1e-6`, `∞`."""
    return "∞" if value == math.inf else re.sub(r"e([+-])0", r"e\1", f"{value:g}")


def searched(knob: Knob) -> str:
    """Format the range that is searched where a study names none: `1e-6 to 0.1, log`."""
    return f"{number(knob.low)} to {number(knob.high)}{', log' if knob.log else ''}"


def settings(rule: type[Regularizer]) -> dict[str, str]:
    """Write for each knob, by its short name, what a study file says to search it over the declared range."""
    ranges = {}
    for knob in rule.knobs:
        scale = ", log: true" if knob.log else ""
        ranges[knob.short] = f"{{low: {number(knob.low)}, high: {number(knob.high)}{scale}}}"
    return ranges


def snippet(rule: type[Regularizer]) -> str:
    """Write lines for a study file: the rule searched over its declared ranges, and what else may stand there."""
    lines = ["space:", f"  {rule.name}:", *(f"    {name}: {text}" for name, text in settings(rule).items())]
    strength = rule.strength_knob
    lines.append(f"  # the same in short:       {rule.name}: search")
    lines.append(f"  # fixed in every trial:    {rule.name}: {{{strength.short}: {number(_middle(strength))}}}")
    return "\n".join(lines) + "\n"


def _middle(knob: Knob) -> float:
    """A plain number from the middle of the searched range, on its scale."""
    middle = math.sqrt(knob.low * knob.high) if knob.log else (knob.low + knob.high) / 2
    return float(f"{middle:.1g}")
