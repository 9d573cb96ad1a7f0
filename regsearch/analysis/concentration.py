"""Whether few rows carry most of a mean loss, so that it says little about the others.

Legend: N rows.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from regsearch.analysis.finals_summary import Candidate

SHARE = 0.01
"""Of the rows, those of the largest losses that are looked at; of fewer than a hundred none are few."""
MOST = 0.5
"""Of the sum of losses, the share from which on those rows carry most of it."""
HANGS = {"validation": "which setting won hangs on", "test": "the optimism hangs on"}


def few_rows(winner: Candidate, baseline: Candidate) -> list[str]:
    """Say on which parts of the data few rows carry most of the winner's or the baseline's mean loss, a line each."""
    lines = []
    for part, hangs in HANGS.items():
        known = {"winner": winner.row_losses.get(part), "baseline": baseline.row_losses.get(part)}
        shares = {name: carried(losses) for name, losses in known.items() if losses is not None}
        heavy = [f"{100 * share:.0f} % of the {name}'s" for name, (_, share) in shares.items() if share > MOST]
        if heavy:
            count, total = next(iter(shares.values()))[0], np.size(np.asarray(known["winner"]))
            carry, it = ("carries", "it") if count == 1 else ("carry", "them")
            lines.append(f"{count} of {total:,} {part} rows {carry} {' and '.join(heavy)} {part} loss: {hangs} {it}")
    return lines


def carried(losses: ArrayLike) -> tuple[int, float]:
    """Count the rows that one in a hundred of the losses [N] are, and compute the share of the sum that the largest so
    many carry; 0 where the sum is none to take a share of.
    """
    values = np.asarray(losses, dtype=np.float64).ravel()
    rows, total = int(SHARE * values.size), float(values.sum())
    if rows == 0 or total <= 0 or not math.isfinite(total):
        return rows, 0.0
    return rows, float(np.sort(values)[-rows:].sum()) / total
