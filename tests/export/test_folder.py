"""`regsearch study export`: what it writes, and what it refuses with nothing written."""

from __future__ import annotations

import builtins
import hashlib
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from regsearch.cli.app import app
from regsearch.tracking.mlflow.predict import load
from tests.export.packages import TABLE, finished_study

FILES = {
    "README.md", "SHA256SUMS", "columns.py", "example.csv",
    "manifest.json", "model.pt2", "predict.py", "requirements.txt",
}  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGSEARCH_HOME", str(tmp_path / "mlruns"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "mlruns"


def export(*words: str) -> Result:
    return CliRunner().invoke(app, ["study", "export", *words], prog_name="regsearch")


def refused(*words: str) -> str:
    """The one line of an export that is refused and leaves everything as it was."""
    before = {path: path.stat().st_mtime_ns for path in Path.cwd().rglob("*")}
    result = export(*words)
    assert result.exit_code == 2, result.output
    assert result.stdout == "" and result.stderr.count("\n") == 1, result.output
    assert {path: path.stat().st_mtime_ns for path in Path.cwd().rglob("*")} == before
    return result.stderr


def test_the_folder_is_whole_and_says_what_it_is(home: Path) -> None:
    finished_study(home)
    result = export("people", "deep/out", "--no-onnx", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["onnx"] is False and set(told["files"]) == FILES == {path.name for path in Path("deep/out").iterdir()}
    sums = dict(reversed(line.split("  ")) for line in Path("deep/out/SHA256SUMS").read_text().splitlines())
    assert sums == {
        name: hashlib.sha256(Path("deep/out", name).read_bytes()).hexdigest() for name in FILES - {"SHA256SUMS"}
    }
    assert re.fullmatch(
        r"torch==[\d.]+\nnumpy==[\d.]+\npandas==[\d.]+\n", Path("deep/out/requirements.txt").read_text()
    )
    text = Path("deep/out/README.md").read_text()
    for part in (
        "# people\n\nIt helps.\n",
        "| height \\| cm |",
        "green, red",
        "median, 41",
        "`csv:people.csv`",
        "dddd",
    ):
        assert part in text, text
    wanted = load(home / "studies" / "people" / "finals" / "champion")(TABLE)
    pd.testing.assert_frame_equal(load("deep/out")(pd.read_csv("deep/out/example.csv")), wanted)
    assert [path.name for path in Path("deep").iterdir()] == ["out"]


def test_an_earlier_export_makes_way_and_nothing_else_does(home: Path) -> None:
    finished_study(home)
    Path("out").mkdir()
    assert export("people", "out", "--no-onnx").exit_code == 0  # an empty folder is as good as none
    assert "not empty" in refused("people", "out", "--no-onnx")
    Path("out/predict.py").write_text("changed")
    assert export("people", "out", "--no-onnx", "--replace").exit_code == 0
    assert "changed" not in Path("out/predict.py").read_text()
    Path("out/thesis.tex").write_text("mine")
    assert "it holds thesis.tex" in refused("people", "out", "--no-onnx", "--replace")
    Path("file").write_text("")
    assert "a file, not a folder" in refused("people", "file")
    assert "cannot be written" in refused("people", "file/below")


def test_a_study_without_a_champion_is_refused(home: Path) -> None:
    assert "no champion of this study is registered" in refused("people", "out")
    assert "not a study name" in refused("../people", "out")
    finished_study(home, seeds=0, champion=False)
    assert "its finals are skipped" in refused("people", "out")


def test_a_study_that_has_not_ended_is_refused(home: Path) -> None:
    finished_study(home, answer=None)
    assert "`regsearch study resume people` goes on" in refused("people", "out")


@pytest.mark.parametrize("file", ["model.pt2", "columns.py", "SHA256SUMS"])
def test_a_damaged_champion_is_refused(home: Path, file: str) -> None:
    path = finished_study(home) / "finals" / "champion" / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    line = refused("people", "out")
    assert "regsearch study finalize people" in line and "champion" in line


@pytest.mark.parametrize("file", ["model.pt2", "columns.py", "manifest.json"])
def test_an_exported_folder_that_is_damaged_answers_nothing(home: Path, file: str) -> None:
    finished_study(home)
    assert export("people", "out", "--no-onnx").exit_code == 0
    load("out")
    path = Path("out", file)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"out/{file} is damaged: "):
        load("out")
    Path("out", "SHA256SUMS").unlink()
    Path("out", "manifest.json").write_text("[]")
    with pytest.raises(ValueError, match=r"out/manifest\.json is damaged: it holds no JSON object"):
        load("out")


def test_without_the_packages_of_onnx_the_rest_is_written(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *more: object, **named: object) -> object:
        if name.partition(".")[0] == "onnxruntime":
            raise ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime")
        return real(name, *more, **named)  # type: ignore[arg-type]

    finished_study(home)
    monkeypatch.setattr(builtins, "__import__", without)
    result = export("people", "out")
    assert result.exit_code == 0 and set(path.name for path in Path("out").iterdir()) == FILES
    line = "no model.onnx: onnxruntime is not installed; pip install 'regsearch[onnx]'"
    assert result.stderr == f"{line}\n"
    assert line in refused("people", "other", "--onnx")


def test_a_package_that_is_gone_is_named_in_a_line(home: Path) -> None:
    """`predict.py` where torch is missing: a Python that has numpy and pandas alone."""
    finished_study(home)
    assert export("people", "out", "--no-onnx").exit_code == 0
    site = Path("site").absolute()
    site.mkdir()
    for name in ("numpy", "pandas", "dateutil", "six"):
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.origin is not None
        origin = Path(spec.origin)
        package = origin.parent if origin.name == "__init__.py" else origin
        (site / package.name).symlink_to(package)
        libraries = package.with_name(f"{name}.libs")
        if libraries.exists():
            (site / libraries.name).symlink_to(libraries)
    command = [sys.executable, "-S", "out/predict.py", "out/example.csv"]
    done = subprocess.run(command, env={"PYTHONPATH": str(site)}, capture_output=True, text=True, check=False)
    line = "the model needs torch, which is not installed: pip install -r requirements.txt"
    assert (done.returncode, done.stderr) == (2, f"predict.py: {line}\n")
