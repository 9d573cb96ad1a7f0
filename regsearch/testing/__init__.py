"""Conformance checks for regularizers: what a rule must keep to train packed, one's own rules included.

    from regsearch.testing import PROPERTIES

    @pytest.mark.parametrize("check", PROPERTIES.values(), ids=PROPERTIES)
    def test_my_rule(check):
        check(MyRule)

Every check takes the rule's class, and if wanted a `Case` (model, task, data) and settings of the rule's knobs; it
raises AssertionError with the rule and the property in the message. `check_agreement` takes a reference besides: a
plain training loop of one trial, against which the packed training is held. `CASES` has a model of every kind, and
`exclusion` says which of them a rule cannot act on.

The checks compare bits. They raise RuntimeError in a process that multiplied with torch before regsearch was imported:
there equal products of a pack may differ in their last bits, whatever the rule.
"""

from __future__ import annotations

from regsearch.testing.cases import (
    Case,
    Reference,
    Rule,
    Setting,
    Start,
    Trained,
    case_for,
    mlp_case,
    program_of,
    residual_case,
    settings,
    start_of,
    train,
)
from regsearch.testing.models import CASES, WHERE, exclusion
from regsearch.testing.properties import ATOL, PROPERTIES, RTOL, check_agreement, check_all

__all__ = [
    "ATOL",
    "CASES",
    "PROPERTIES",
    "RTOL",
    "WHERE",
    "Case",
    "Reference",
    "Rule",
    "Setting",
    "Start",
    "Trained",
    "case_for",
    "check_agreement",
    "check_all",
    "exclusion",
    "mlp_case",
    "program_of",
    "residual_case",
    "settings",
    "start_of",
    "train",
]
