"""A model that wants rows of another shape is refused with the key that gives it, and from Python by one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from regsearch import Study
from regsearch.config import load_config
from regsearch.errors import UserError
from tests import forked

MODEL = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.layer = {layer}
        self.out = nn.Linear({hidden}, outputs)

    def forward(self, x):
        h = self.layer(x)
        return self.out(torch.relu(h).flatten(1))


def build(inputs, outputs):
    {first}
    return Net(outputs)
"""
PICTURES, SERIES = ("nn.Conv2d(1, 4, 3)", 4 * 6 * 6), ("nn.Conv1d(8, 4, 3)", 4 * 6)
STUDY = """
name: shaped
data: {{source: "sklearn:{source}"{shape}}}
model: {{factory: "{module}:build"}}
space: {{l2: search}}
"""


def write(folder: Path, module: str, first: str = "", shape: str = "", source: str = "digits", layer: int = 0) -> Path:
    """Write a study of digits, 64 numbers in a row, and its model."""
    kind, hidden = (PICTURES, SERIES)[layer]
    (folder / f"{module}.py").write_text(MODEL.format(layer=kind, hidden=hidden, first=first or "pass"))
    file = folder / "shaped.yaml"
    file.write_text(STUDY.format(module=module, shape=shape, source=source))
    return file


def refusal(file: Path) -> str:
    with pytest.raises(UserError) as refused:
        Study(load_config(file)).check()
    return str(refused.value)


@pytest.mark.parametrize("layer", [0, 1], ids=["pictures", "series"])
def test_it_says_what_to_write_and_that_works(layer: int, tmp_path: Path) -> None:
    line = refusal(write(tmp_path, f"flat_{layer}", layer=layer))
    assert "rows of shape (64,)" in line
    assert f"at `h = self.layer(x)` (flat_{layer}.py, line 13)" in line
    assert "data: {shape: [channels, height, width]} in the study file, like [1, 8, 8], 64 numbers in all" in line
    shape = ", shape: [1, 8, 8]" if layer == 0 else ", shape: [8, 8]"
    plan = Study(load_config(write(tmp_path, f"shaped_{layer}", shape=shape, layer=layer))).check()
    assert plan["searched"] == ["l2.strength"]


def test_a_factory_that_takes_the_shape_apart(tmp_path: Path) -> None:
    line = refusal(write(tmp_path, "unpacking", first="channels, height, width = inputs"))
    assert "inputs=(64,), outputs=10" in line and "shape: [channels, height, width]" in line
    assert "at `channels, height, width = inputs` (unpacking.py, line 18)" in line


def test_a_number_of_columns_that_is_no_square(tmp_path: Path) -> None:
    line = refusal(write(tmp_path, "wine_of_pictures", source="wine"))
    assert "in the study file, 13 numbers in all" in line and "like" not in line


def test_from_python_there_is_one_line_and_none_of_our_frames(tmp_path: Path) -> None:
    file = write(tmp_path, "traced")
    script = f"from regsearch import Study\nif __name__ == '__main__':\n    Study.from_file({str(file)!r}).run()\n"
    (tmp_path / "script.py").write_text(script)
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    *frames, line = done.stderr.strip().splitlines()
    assert line.startswith("regsearch.errors.UserError: ") and "data: {shape: " in line
    assert sum(each.startswith("  File ") for each in frames) == 2, done.stderr
    assert "direct cause" not in done.stderr and "another exception" not in done.stderr


@pytest.mark.parametrize("call", ["run()", "check()"])
def test_a_script_that_would_start_its_study_again_is_told_where_to_put_it(call: str, tmp_path: Path) -> None:
    file = write(tmp_path, "unguarded", shape=", shape: [8, 8]")
    (tmp_path / "script.py").write_text(f"from regsearch import Study\nStudy.from_file({str(file)!r}).{call}\n")
    done = forked.run(["script.py"], tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1
    assert done.stderr.strip().splitlines()[-1] == (
        "regsearch.errors.UserError: script.py: the processes of a study import this script, which would start the "
        'study again; put what it does below `if __name__ == "__main__":`'
    )
