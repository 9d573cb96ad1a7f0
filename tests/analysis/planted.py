"""Trials made up so that it is known which knob matters."""

from __future__ import annotations

import numpy as np
import pandas as pd

from regsearch.space import Knob

STRENGTHS = [
    Knob("l2.strength", 1e-6, 1, log=True, off=0.0),
    Knob("dropout.p", 0, 0.8, off=0.0),
    Knob("clip_by_norm.max_norm", 0.1, 10, log=True, off=float("inf")),
]
RANGES = {"l2.strength": (1e-5, 1e-1, True), "dropout.p": (0.0, 0.8, False), "clip_by_norm.max_norm": (0.1, 10, True)}


def planted(trials: int = 200, choose: str = "any", seed: int = 0) -> pd.DataFrame:
    """The loss falls with log L2 to a minimum at 1e-3, and is worst with L2 off; the gap falls with dropout. The clip,
    its warm-up and the learning rate do nothing. Trial 0 has nothing on.
    """
    random = np.random.default_rng(seed)
    rows = []
    for number in range(trials):
        on = {name: bool(random.random() < 0.5) for name in RANGES}
        if choose == "one":
            chosen = random.choice([*RANGES, "none"])
            on = {name: name == chosen for name in RANGES}
        row: dict[str, float | str] = {"number": number, "state": "COMPLETE", "train.learning_rate": 1e-3}
        row["train.learning_rate"] = float(np.exp(random.uniform(np.log(1e-4), np.log(1e-2))))
        for name, (low, high, log) in RANGES.items():
            if number and on[name]:
                u = random.random()
                row[name] = float(low * (high / low) ** u if log else low + (high - low) * u)
        if "clip_by_norm.max_norm" in row:
            row["clip_by_norm.max_norm.schedule"] = str(random.choice(["constant", "cosine"]))
        l2, p = row.get("l2.strength"), float(row.get("dropout.p", 0.0))
        bowl = 1.0 if l2 is None else 0.4 * abs(np.log10(float(l2)) + 3) / 2
        row["val_loss"] = 0.5 + bowl + 0.02 * float(random.normal())
        row["gap"] = 0.6 - 0.5 * p + 0.02 * float(random.normal())
        rows.append(row)
    return pd.DataFrame(rows)
