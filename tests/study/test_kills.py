"""What a killed study leaves behind harms nobody; `python -m tests.faults` kills whole ones, again and again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from regsearch.data import decisions, open_test, openings, seal
from regsearch.study.study import Study


def test_what_a_killed_start_left_is_no_study() -> None:
    left = Path("mlruns/studies/.small.new")
    left.mkdir(parents=True)
    (left / "study.json").write_text("{}")
    assert Study.list() == []


def test_every_opening_is_in_the_ledger_and_the_same_decision_counts_once(tmp_path: Path) -> None:
    from regsearch.config import DataConfig

    manifest = seal(DataConfig.model_validate({"source": "sklearn:iris"}), str(tmp_path), tmp_path / "data")
    for study, winner in (("a", 3), ("a", 3), ("a", 4), ("b", 4)):
        open_test(tmp_path / "data", tmp_path / "ledger", study, "finals", {"winner": winner})
    assert len(openings(tmp_path / "ledger", manifest.test_digest)) == 4
    assert decisions(tmp_path / "ledger", manifest.test_digest) == 3


def test_sealing_that_lost_its_parent_writes_nothing(tmp_path: Path) -> None:
    config = {"source": "sklearn:iris"}
    order = {"config": config, "folder": str(tmp_path), "out": str(tmp_path / "data"), "test": True}
    order["parent"] = os.getpid() + 1
    command = [sys.executable, "-c", "import sys; from regsearch.data.sealing import main; sys.exit(main())"]
    done = subprocess.run(command, input=json.dumps(order), text=True, capture_output=True, check=False)
    assert done.returncode == 1, done.stderr
    assert list(tmp_path.iterdir()) == []
