"""The ONNX form of every stock model answers as torch does; what has none says so in a line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from regsearch.export.onnx import TOLERANCE, MissingForm, write_onnx
from tests.export.packages import write_package
from tests.models.test_models import TESTED, Case


def onnx_of(folder: Path, module: nn.Module, x: torch.Tensor, vocabulary: tuple[int, ...] | None = None) -> Path:
    more = {"vocabulary": list(vocabulary)} if vocabulary else {}
    write_package(folder, module, x, more, {"inputs": []})
    write_onnx(folder / "model.pt2", folder / "model.onnx", json.loads((folder / "manifest.json").read_text()))
    return folder / "model.onnx"


pytestmark = pytest.mark.slow
SOME = ("mlp", "convnet", "matrix_factorization")


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=() if case.name in SOME else pytest.mark.sweep) for case in TESTED], ids=str
)
def test_it_answers_as_torch_does(case: Case, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    module, x = case.build().eval(), case.x()
    path = onnx_of(tmp_path / "package", module, x, case.vocabulary)
    assert capfd.readouterr() == ("", ""), "the exporter talks"
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for rows in (x, x[:1], torch.cat([x, x])):
        with torch.no_grad():
            wanted = module(rows).numpy()
        (found,) = session.run(["outputs"], {"rows": rows.numpy()})
        np.testing.assert_allclose(found, wanted, rtol=TOLERANCE, atol=TOLERANCE)


class Eigen(nn.Module):
    """An operation that ONNX does not have."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.eigvalsh(x.unsqueeze(-1) * x.unsqueeze(-2))


def test_an_operation_without_a_form_is_named_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(MissingForm, match=r"^no model.onnx: .*eigh") as raised:
        onnx_of(tmp_path / "package", Eigen(), torch.randn(4, 3))
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "package" / "model.onnx").exists()


def test_a_form_that_answers_otherwise_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regsearch.export.onnx.TOLERANCE", -1.0)
    with pytest.raises(MissingForm, match="away from torch's"):
        onnx_of(tmp_path / "package", nn.Linear(3, 2), torch.randn(4, 3))
    assert not (tmp_path / "package" / "model.onnx").exists()
