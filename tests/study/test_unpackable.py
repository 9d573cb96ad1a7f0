"""A model that cannot be packed: one warning that names the operation, and the study still ends with an answer."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from regsearch.publish.champion import export_rows
from regsearch.study.study import Study
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


WHY = (
    "cannot be packed and trains one trial at a time: `if h.mean() > 0.1:` (branching.py, line 12): its result depends "
    "on the data"
)


def test_a_dry_run_says_why(tmp_path: Path) -> None:
    (tmp_path / "branching.py").write_text(MODEL)
    file = tmp_path / "branching.yaml"
    file.write_text(STUDY)
    assert Study.from_file(file).check()["model"] == {"packing": WHY}
    (tmp_path / "plain.py").write_text(MODEL.replace("if h.mean() > 0.1:", "if len(h) > 1:"))
    file.write_text(STUDY.replace("branching:", "plain:"))
    assert "model" not in Study.from_file(file).check()


def test_what_torch_prints_of_a_model_that_it_cannot_export_is_dropped(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """The whole graph, twice, and a warning of its log, before the one line of ours."""
    module: dict[str, Any] = {}
    exec(MODEL, module)
    with pytest.raises(Exception, match="data-dependent"):
        export_rows(module["build"]((4,), 3), torch.zeros(4, 4))
    assert capfd.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert export_rows(nn.Linear(4, 3), torch.zeros(4, 4)).graph is not None


@pytest.mark.sweep
def test_it_trains_alone_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "branching.py").write_text(MODEL)
    (tmp_path / "branching.yaml").write_text(STUDY)
    process = start(tmp_path, "start", "branching.yaml")
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert sum(json.loads(out)["trials"].values()) == 4 and json.loads(out)["finals"] is not None
    (warning,) = (line for line in err.splitlines() if "cannot be packed" in line)
    assert warning.endswith(f"the model {WHY}")
    assert "no champion is registered" in err
    assert "Sym(" not in err and "def forward" not in err, "torch prints its graph"
