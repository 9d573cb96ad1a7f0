"""In a shell that sets nothing, each process measures the sealed test to the same bit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.shells import bare

STUDY = """
name: bare
data: {source: "sklearn:diabetes"}
model: {name: mlp, hidden: [8]}
train: {epochs: 3, batch_size: 32}
space: {l2: search}
search: {trials: 4, parallel: 2}
finalize: {seeds: 2}
"""


def finals(folder: Path, *words: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "regsearch.cli", "study", *words, "--json"],
        cwd=folder,
        env=bare() | {"REGSEARCH_HOME": str(folder / "mlruns")},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return dict(answer["finals"])


@pytest.mark.slow
def test_finals_that_another_process_holds_again_measure_the_same(tmp_path: Path) -> None:
    """The process that searched once set what the math library reads for its workers, and so for itself alone."""
    (tmp_path / "bare.yaml").write_text(STUDY)
    assert finals(tmp_path, "start", "bare.yaml") == finals(tmp_path, "finalize", "bare")
