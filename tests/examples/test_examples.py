"""Every script and notebook of `examples/` runs as a reader would run it, and prints what its docstring says."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
from pathlib import Path

import pytest

from regsearch.config import load_config
from tests import forked
from tests.documents import ROOT
from tests.made_store import made_store

EXAMPLES = ROOT / "examples"
PRINTED = {
    "own_model.py": [r"slots of a pack: \d+"],
    "own_regularizer.py": ["the rule keeps: alone", r"gaussian_dropout\.sigma", r"\n +5 +0\.\d+ +\d"],
    "own_data.py": [r"'train': \d+", "On .* unseen rows"],
    "several_objectives.py": ["'val_loss': .*'gap': "],
    "from_python.py": [r"l2\.strength +dropout\.p", "agrees: .* values of 4 epochs, every one to the last bit"],
    "served_model.py": ["predict.py", "the registered model agrees: True"],
    "ray_tune.py": ["failed 0\n"],
    "notebook.ipynb": [r"l2\.strength +dropout\.p", r"\n4 \d\.\d+ \d\.\d+"],
}
"""What each prints besides the answer."""
ANSWER = "On .* unseen rows, "
NOTEBOOK = """
import sys
import nbclient, nbformat

notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
for cell in notebook.cells:
    for output in cell.get("outputs", []):
        assert output.output_type != "error"
        print(output.get("text", ""), end="")
"""


@pytest.mark.slow
@pytest.mark.timeout(900)  # some ten seconds on an idle machine
@pytest.mark.parametrize("name", PRINTED)
def test_it_runs_and_prints_what_it_says(name: str, tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("mlruns", "__pycache__"))
    script = tmp_path / "examples" / name
    run = ["-c", NOTEBOOK, str(script)] if script.suffix == ".ipynb" else [str(script)]
    folder = script.parent if script.suffix == ".ipynb" else tmp_path
    environment = {**os.environ, "REGSEARCH_HOME": str(made_store(tmp_path / "mlruns"))}
    done = forked.run(run, folder, environment)
    assert done.returncode == 0, done.stdout + done.stderr
    for pattern in (ANSWER, *PRINTED[name]):
        assert re.search(pattern, done.stdout), f"{pattern} is not in what it printed:\n{done.stdout}"
    assert "Traceback" not in done.stderr, done.stderr


def test_every_example_is_run_and_listed() -> None:
    here = {file.name for file in EXAMPLES.iterdir() if file.suffix in (".py", ".ipynb")}
    assert here == set(PRINTED)
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert {name for name in here if f"[{name}]({name})" not in page} == set()


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.py")), ids=lambda file: file.name)
def test_a_script_says_what_it_shows_and_prints(file: Path) -> None:
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    assert "Prints " in text and f"python examples/{file.name}" in text


def test_the_notebook_is_kept_without_outputs() -> None:
    cells = json.loads((EXAMPLES / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    assert "Prints " in "".join(cells[0]["source"])
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.yaml")), ids=lambda file: file.name)
def test_study_files_are_tiny(file: Path) -> None:
    config = load_config(file)
    assert config.search.trials <= 12 and config.train.epochs <= 5 and config.finalize.seeds <= 3
