"""A study with a value far beyond training: bounded by default; where it is not, the answer says what hangs on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from regsearch.cli.printing import answer_notes
from regsearch.data import Opened
from tests.study.test_finals import study

STUDY = """
name: small
data: {source: "csv:t.csv", target: y, task: classification, split: {by: {column: part}}, scaling: standard}
model: {name: mlp, hidden: [8]}
train: {epochs: 8, batch_size: 25, learning_rate: 1.0e-2}
space: {dropout: search}
search: {trials: 3, parallel: 3, width: 3, workers: 1, pruner: none}
finalize: {seeds: 2}
"""


def table() -> pd.DataFrame:
    draw = np.random.default_rng(0)
    y, part = draw.integers(0, 2, 300), np.repeat(["train", "validation", "test"], 100)
    rare = np.zeros(300)
    rare[[3, 4]], y[[3, 4]] = 0.01, 1  # in training the mark of one class
    rare[150], y[150] = 400.0, 0
    return pd.DataFrame({"rare": rare, "plain": y + draw.normal(size=300), "part": part, "y": y})


@pytest.mark.slow
def test_one_row_decides_nothing_unsaid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table().to_csv(tmp_path / "t.csv", index=False)
    bounded = study(tmp_path, monkeypatch, STUDY)
    said = "1 value of validation rows lies far beyond those of training rows (held at the bound); columns rare (1)"
    assert bounded.check()["data"]["beyond training"] == said
    first = bounded.run()
    assert first.finals is not None and first.finals["missing"] == []
    other = STUDY.replace("name: small", "name: free").replace("standard", "unbounded")
    second = study(tmp_path, monkeypatch, other).run()
    assert second.finals is not None
    (line,) = second.finals["missing"]
    assert line.startswith("1 of 100 validation rows carries ") and line.endswith("which setting won hangs on it")
    losses = [answer.finals["baseline"]["val_loss"] for answer in (first, second)]  # type: ignore[index]
    assert losses[0] < 1 < 5 * losses[0] < losses[1]
    assert str(Opened(second.test_opened)) == "test opened 2 times", "another scaling, the same cases"
    assert line in "\n".join(answer_notes(second))
