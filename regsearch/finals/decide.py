"""Decide who wins the finals, on validation alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from regsearch.errors import UserError
from regsearch.finals.plan import Contender, baseline_of


def mean_validation(contender: Contender) -> float:
    """Average the validation loss over a contender's finals; infinite where one diverged."""
    losses = [run.trial.kept()["val_loss"] if run.trial.reason is None else math.inf for run in contender.runs]
    return float(np.mean(losses))


def decide(contenders: Sequence[Contender]) -> Contender:
    """Choose the winner: of those that may win the one of lowest mean validation loss, the baseline last among equals.

    Raises:
        UserError: at every seed a final of it or of the baseline diverged, so there is nothing to test.
    """
    candidates = [contender for contender in contenders if contender.finalist.wins]
    best = min(candidates, key=lambda contender: (mean_validation(contender), contender.is_baseline))
    if best.diverged or baseline_of(contenders).diverged:
        raise all_diverged()
    return best


def all_diverged() -> UserError:
    """Refuse finals of which a contender has none that can be compared."""
    return UserError("at every seed of the finals a candidate diverged", allowed="lower the learning rate")
