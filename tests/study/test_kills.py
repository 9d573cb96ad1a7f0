"""What a killed study leaves behind harms nobody; `python -m tests.faults` kills whole ones, again and again."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

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


SLOW = """
import os, time
from pathlib import Path

def table():
    import pandas as pd
    print("printed by the author", flush=True)
    Path("begun").write_text(str(os.getpid()))
    while Path("begun").exists():
        time.sleep(0.1)
    return pd.DataFrame({"a": range(90), "y": ["u", "v", "w"] * 30})
"""
SEAL = """
from pathlib import Path
from regsearch.config import DataConfig
from regsearch.data import seal

if __name__ == "__main__":
    config = DataConfig.model_validate({"source": "python:slow:table", "target": "y", "task": "classification"})
    print(seal(config, ".", Path("out") / "data").sizes, flush=True)
"""


@pytest.mark.parametrize("killed", [False, True])
def test_sealing_that_lost_its_driver_writes_nothing(killed: bool, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "seal.py").write_text(SEAL)
    begun = tmp_path / "begun"
    with subprocess.Popen([sys.executable, "seal.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as driver:
        while not begun.exists() or not begun.read_text():
            assert driver.poll() is None
            time.sleep(0.05)
        sealing = psutil.Process(int(begun.read_text()))
        if killed:
            driver.kill()
            sealing.wait(5)
        begun.unlink()
        printed, _ = driver.communicate()
    assert printed == ("" if killed else "{'train': 54, 'validation': 18, 'test': 18}\n")
    assert (tmp_path / "out" / "data").exists() is not killed
    assert not list((tmp_path / "out").iterdir()) or not killed
