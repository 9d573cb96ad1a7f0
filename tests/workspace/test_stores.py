"""Which MLflow store a study keeps to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from regsearch.config import StartOptions, load_config
from regsearch.study.fetch import _at_home
from regsearch.workspace.stores import at_store

STUDY = """
name: small
data: {source: "sklearn:digits"}
model: {name: mlp, hidden: [8]}
space: {l2: search}
"""
THERE, ELSEWHERE = "http://there:5000", "http://elsewhere:5000"


def test_the_store_of_the_environment_is_kept_unless_the_file_names_one(tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(STUDY)
    assert at_store(load_config(file), THERE).tracking.uri == THERE
    assert at_store(load_config(file), None).tracking.uri is None
    assert at_store(load_config(file, StartOptions(tracking_uri=ELSEWHERE)), THERE).tracking.uri == ELSEWHERE


def test_a_study_of_another_machine_is_reached_as_this_one_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(STUDY)
    saved = json.loads(load_config(file, StartOptions(tracking_uri=THERE)).to_json())
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert _at_home(saved, "postgresql://db/x", None).tracking.uri == THERE
    monkeypatch.setenv("MLFLOW_TRACKING_URI", ELSEWHERE)
    assert _at_home(saved, "postgresql://db/x", None).tracking.uri == ELSEWHERE
    assert _at_home(saved, "postgresql://db/x", "http://given:5000").tracking.uri == "http://given:5000"
