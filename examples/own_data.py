"""Learn from rows that a function of yours makes: words, gaps, outliers, and groups that must stay together.

Shows the source `python:MODULE:FUNCTION`, a split by group, and `scaling: robust`. Prints what the dry run says of the
rows, and the answer, whose errors are in the target's own unit.

    python examples/own_data.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from regsearch import Study


def table() -> pd.DataFrame:
    """Make 400 services of 40 machines: how many hours until the next one?"""
    draw = np.random.default_rng(0)
    rows = pd.DataFrame({"machine": draw.integers(0, 40, 400), "load": draw.gamma(2.0, 1.0, 400)})
    rows["oil"] = draw.choice(["thin", "thick"], 400)
    rows.loc[::19, "load"] = np.nan  # a gap becomes the median of the training rows
    rows.loc[7, "load"] = 1e6  # a value far beyond the others is held at a bound
    rows["note"] = [f"service {number}" for number in range(400)]
    rows["hours"] = 300.0 - 40.0 * rows["load"].clip(0, 5).fillna(2.0) + 25.0 * (rows["oil"] == "thick")
    rows["hours"] += draw.normal(0.0, 20.0, 400)
    return rows


def main() -> None:
    """Look at the plan, then run the study beside this file."""
    study = Study.from_file(Path(__file__).with_name("own_data.yaml"))
    plan = study.check()
    print(f"rows: {plan['data']}")
    print(study.run(replace=True).sentence)


if __name__ == "__main__":  # the study starts processes, which import this file
    main()
