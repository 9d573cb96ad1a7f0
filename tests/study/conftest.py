"""What the tests of studies share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGSEARCH_HOME", str(tmp_path / "mlruns"))
    monkeypatch.chdir(tmp_path)
    return tmp_path
