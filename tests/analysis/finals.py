"""Finals made up for the tests of the answer: two candidates, their losses and predictions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from regsearch.analysis.finals_summary import Candidate, FinalsSummary, summarize
from regsearch.analysis.statistics import Contrast


def candidates(right: tuple[float, float] = (0.94, 0.86), seeds: int = 10) -> tuple[Candidate, Candidate, Any]:
    """Winner and baseline that are right at these shares of 360 rows in 10 classes, and the truth."""
    random = np.random.default_rng(0)
    y = np.arange(360) % 10
    found = []
    for number, (share, loss) in enumerate(zip(right, (0.3, 0.5), strict=True)):
        predictions = np.where(random.random((seeds, y.size)) < share, y, (y + 1) % 10)
        noise = 0.01 * random.normal(size=(3, seeds))
        found.append(
            Candidate(
                number=(17, 0)[number],
                params=({"l2.strength": 0.003, "dropout.p": 0.31}, {})[number],
                label=("L2 λ=0.003, dropout 0.31", "without regularization")[number],
                selected=loss - (0.05, 0.02)[number],
                train_loss=loss - (0.1, 0.45)[number] + noise[0],
                val_loss=loss + noise[1],
                test_loss=loss + noise[2],
                train_metric=np.full(seeds, 0.99),
                predictions=predictions,
            )
        )
    return found[0], found[1], y


def summary(**contrast: Any) -> FinalsSummary:
    """A summary whose contrast and test metrics are set by hand."""
    winner, baseline, y = candidates()
    made = summarize(winner, baseline, y, "balanced_accuracy", seed=1, draws=100)
    values = {"test": (0.912, 0.88), **contrast}
    test = values.pop("test")
    ends = {"winner": test[0], "baseline": test[1]}
    sides = {
        name: replace(getattr(made, name), test_metric=replace(made.winner.test_metric, value=value))
        for name, value in ends.items()
    }
    fields = {"metric": "balanced_accuracy", "level": 0.95, "p_better": 0.9, "seeds": 10, "rows": 360}
    return replace(made, **sides, contrast=Contrast(**{**fields, **values}))
