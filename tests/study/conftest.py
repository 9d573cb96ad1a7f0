"""What the tests of studies share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.made_store import made_store


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGSEARCH_HOME", str(made_store(tmp_path / "mlruns")))
    monkeypatch.chdir(tmp_path)
    return tmp_path
