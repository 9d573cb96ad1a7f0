"""A model that cannot be packed: one warning that names the operation, and the study still ends with an answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.study.test_same_answer import start

MODEL = """
from torch import nn


class Net(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.hidden, self.dropout, self.out = nn.Linear(inputs, 16), nn.Dropout(0.0), nn.Linear(16, outputs)

    def forward(self, x):
        h = self.hidden(x).relu()
        if h.mean() > 0.1:
            h = h * 0.9
        return self.out(self.dropout(h))


def build(inputs, outputs):
    return Net(inputs[0], outputs)
"""
STUDY = """
name: branching
data: {source: "sklearn:iris"}
model: {factory: "branching:build"}
train: {epochs: 3}
search: {trials: 4, parallel: 2}
finalize: {seeds: 2}
"""


@pytest.mark.sweep
def test_it_trains_alone_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "branching.py").write_text(MODEL)
    (tmp_path / "branching.yaml").write_text(STUDY)
    process = start(tmp_path, "start", "branching.yaml")
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert sum(json.loads(out)["trials"].values()) == 4 and json.loads(out)["finals"] is not None
    (warning,) = (line for line in err.splitlines() if "cannot be packed" in line)
    assert "`if h.mean() > 0.1:` (branching.py, line 12): its result depends on the data" in warning
    assert "no champion is registered" in err
