"""A frame of trials as a study leaves it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from regsearch.space import Knob

STRENGTHS = [
    Knob("l1.strength", 1e-6, 1, off=0.0),
    Knob("l2.strength", 1e-6, 1, off=0.0),
    Knob("dropout.p", 0, 0.8, off=0.0),
    Knob("clip_by_norm.max_norm", 0.1, 10, off=float("inf")),
]


def frame(trials: int = 60) -> pd.DataFrame:
    """Trial 0 has nothing on, the others dropout and clipping, a third L1, a third L2; some are pruned, one failed."""
    random = np.random.default_rng(0)
    number = np.arange(trials)
    loss = 0.4 + random.random(trials)
    gap = 0.5 / loss * random.random(trials)
    state = np.where(number % 4 == 3, "PRUNED", "COMPLETE")
    state[trials // 2] = "FAIL"
    loss[trials // 2] = gap[trials // 2] = np.nan
    on = number > 0
    return pd.DataFrame(
        {
            "number": number,
            "state": pd.Series(state, dtype="str"),
            "dropout.p": np.where(on, 0.3, np.nan),
            "clip_by_norm.max_norm": np.where(on, 1.0, np.nan),
            "l1.strength": np.where(on & (number % 3 == 1), 0.01, np.nan),
            "l2.strength": np.where(on & (number % 3 == 2), 0.01, np.nan),
            "val_loss": loss,
            "train_loss": loss - gap,
            "gap": gap,
        }
    )
