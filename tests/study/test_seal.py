"""Nothing that searches reads the test: every file that any of a study's processes opens is looked at, and the test's
labels are looked for in everything that the study leaves.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from regsearch.data import Manifest

ROOT = str(Path(__file__).parents[2])
# Imported by Python as it starts, in every process of a study: writes down each path that is opened for reading.
LOOKING = """
import os, sys
_place = os.environ.get("OPENED")
if _place:
    def _begin():
        global _out
        _out = os.open(os.path.join(_place, f"{os.getpid()}.txt"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(_out, (" ".join(sys.orig_argv)[:300].replace("\\n", " ") + "\\n").encode())
    _begin()
    os.register_at_fork(after_in_child=_begin)
    def _look(event, given):
        if event == "open" and isinstance(given[0], (str, bytes)) and not given[2] & (os.O_WRONLY | os.O_RDWR):
            os.write(_out, os.fsencode(given[0]) + b"\\n")
    sys.addaudithook(_look)
"""
STUDY = """
name: small
data: {source: "csv:t.csv", task: regression, target: y, split: {by: {column: part}}}
model: {name: mlp, hidden: [8]}
train: {epochs: 2, batch_size: 32}
space: {dropout: search}
search: {trials: 3, parallel: 2, width: 2, workers: 1}
finalize: {seeds: 0}
"""
LABEL = 87654321.25
"""The target of every test row, in which no other number of the study begins."""
RAY = "search:\n  engine: ray_tune\n  algorithm: random\n  trials: 3\n  parallel: 2\n  width: 2\n  workers: 1"


def table() -> pd.DataFrame:
    draw = np.random.default_rng(0)
    part = np.repeat(["train", "validation", "test"], [60, 30, 30])
    y = np.where(part == "test", LABEL, draw.normal(size=120))
    return pd.DataFrame({"a": draw.normal(size=120), "b": draw.normal(size=120), "part": part, "y": y})


def looked_at(folder: Path, *words: str) -> dict[str, list[str]]:
    """What each process of a command opened, by its number and command line."""
    place = folder / f"opened-{words[1]}"
    place.mkdir()
    (folder / "looking").mkdir(exist_ok=True)
    (folder / "looking" / "sitecustomize.py").write_text(LOOKING)
    path = os.pathsep.join((str(folder / "looking"), ROOT))
    home = str(folder / "mlruns")
    env = {**os.environ, "PYTHONPATH": path, "REGSEARCH_HOME": home, "OPENED": str(place), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "regsearch.cli", *words]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    found = {}
    for file in place.iterdir():
        command_line, *paths = file.read_text(errors="replace").splitlines()
        found[f"{file.stem} {command_line}"] = paths
    return found


@pytest.mark.parametrize(
    "engine",
    [pytest.param("optuna", marks=pytest.mark.slow), pytest.param("ray_tune", marks=pytest.mark.sweep)],
)
def test_no_process_of_a_search_opens_the_test(engine: str, tmp_path: Path) -> None:
    table().to_csv(tmp_path / "t.csv", index=False)
    text = STUDY
    if engine == "ray_tune":
        text = text.replace("search: {trials: 3, parallel: 2, width: 2, workers: 1}", RAY)
    (tmp_path / "small.yaml").write_text(text)
    opened = looked_at(tmp_path, "study", "start", "small.yaml")
    folder = tmp_path / "mlruns" / "studies" / "small"
    names = ("test_x.npy", "test_y.npy", "test_rows.npy")
    assert all((folder / "data" / "sealed" / name).exists() for name in names), "there is something to be found"
    assert sum("train_y.npy" in path for paths in opened.values() for path in paths) >= 1, "the workers are looked at"
    workers = "forkserver" if engine == "optuna" else "default_worker"
    for kind in ("regsearch.cli", workers):
        assert any(kind in process for process in opened), (kind, list(opened))
    forked = [path for process, paths in opened.items() if "forkserver" in process for path in paths]
    assert any("mlflow/tracking" in path for path in forked), "the writer is looked at"
    [cuts] = [process for process, paths in opened.items() if any(path.endswith("t.csv") for path in paths)]
    assert "forkserver" in cuts and not any("train_y.npy" in path for path in opened.pop(cuts)), "it trains nothing"
    for process, paths in opened.items():  # all but the one that cuts, which writes the test and ends
        assert not [path for path in paths if "/sealed/" in path], process
    _label_is_nowhere(tmp_path / "mlruns", folder)


def _label_is_nowhere(root: Path, folder: Path) -> None:
    """In no file that the study leaves but the sealed ones: neither as text, nor as bits, raw or standardised."""
    manifest = Manifest.load(folder / "data")
    assert manifest.target_mean is not None and manifest.target_scale is not None
    standardised = (LABEL - manifest.target_mean) / manifest.target_scale
    known = np.load(folder / "data" / "sealed" / "test_y.npy")
    assert struct.pack("<f", np.float32(standardised)) == known[0].tobytes(), "this is how it is sealed"
    patterns = [b"87654321", struct.pack("<d", LABEL), struct.pack("<f", LABEL), known[0].tobytes()]
    for file in root.rglob("*"):
        if file.is_file() and file.parent.name != "sealed":
            content = file.read_bytes()
            assert not [pattern for pattern in patterns if pattern in content], file


PEEKER = """
import torch
from pathlib import Path
def build(inputs, outputs, **rest):
    found = [*Path("mlruns").rglob("test_y.npy")]
    if found:  # while the study begins it has no folder of its own yet
        found[0].read_bytes()
    return torch.nn.Linear(inputs[0], outputs)
"""


@pytest.mark.sweep
def test_a_model_that_reaches_for_the_test_is_stopped_by_the_guard(tmp_path: Path) -> None:
    table().to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "peeker.py").write_text(PEEKER)
    text = STUDY.replace("{name: mlp, hidden: [8]}", "{factory: 'peeker:build'}").replace("dropout", "l2")
    (tmp_path / "small.yaml").write_text(text)
    env = {**os.environ, "PYTHONPATH": ROOT, "REGSEARCH_HOME": str(tmp_path / "mlruns"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "regsearch.cli", "study", "start", "small.yaml"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=250)
    assert done.returncode != 0
    assert "is sealed: only finals open it, by the ledger" in done.stderr


@pytest.mark.sweep
def test_a_renamed_study_cannot_peek_afresh(tmp_path: Path) -> None:
    """The same rows under another name, in another order of rows and columns: opened twice, and both say so."""
    home = {"REGSEARCH_HOME": str(tmp_path / "mlruns"), "PYTHONPATH": ROOT, "OMP_NUM_THREADS": "1"}

    def run(*words: str) -> str:
        command = [sys.executable, "-m", "regsearch.cli", "study", *words]
        done = subprocess.run(command, cwd=tmp_path, env={**os.environ, **home}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return " ".join(done.stdout.split())

    frame = table()
    frame["y"] = frame["a"]
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.sample(frac=1, random_state=2)[["part", "y", "b", "a"]].to_csv(tmp_path / "u.csv", index=False)
    text = STUDY.replace("seeds: 0", "seeds: 2")
    (tmp_path / "small.yaml").write_text(text)
    (tmp_path / "other.yaml").write_text(text.replace("small", "other").replace("t.csv", "u.csv"))
    assert json.loads(run("start", "small.yaml", "--json"))["test_opened"] == 1
    assert "test opened once" in run("resume", "small")
    assert "test opened 2 times" in run("start", "other.yaml")
    assert "test opened 2 times" in run("resume", "small")
    assert "test opened 2 times" in run("show", "small")
