"""README is short; its example runs, its answer is what the command prints."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

from tests.documents import ROOT, blocks, commands, run
from tests.test_pages_run import patients

MOST_LINES = 150


def test_it_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@pytest.mark.sweep
@pytest.mark.timeout(900)  # half a minute on an idle machine
def test_your_own_table(tmp_path: Path) -> None:
    patients(tmp_path / "patients.csv")
    init, check, start, report = commands("README.md", "Your own table")
    run(init, tmp_path)
    plan = run(check, tmp_path)
    assert "classification" in plan
    assert not (tmp_path / "mlruns").exists()
    printed = run(start, tmp_path)
    assert re.search(r"^patients: 100 trials ", printed, flags=re.MULTILINE)
    assert re.search(r"On 2\d unseen rows, ", printed)
    shown = json.loads(run(["regsearch", "study", "show", "patients", "--json"], tmp_path))
    assert shown["trials"]["failed"] == 0
    assert isinstance(shown["finals"]["claim"], bool)
    assert Path(run(report, tmp_path).strip()).exists()


@pytest.mark.parametrize("page", ["README.md", "docs/start/first-study.md"])
def test_the_printed_answer_is_what_the_command_prints(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.syspath_prepend(ROOT / "docs")
    spec = importlib.util.spec_from_file_location("refresh", ROOT / "docs" / "refresh.py")
    assert spec is not None and spec.loader is not None
    refresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(refresh)
    assert ROOT / page in refresh.SHOWN
    (shown,) = (block.text for block in blocks(page) if block.language == "text")
    assert shown == refresh.printed(), "write it anew: make docs"
    assert max(map(len, shown.splitlines())) <= 80


def test_every_block_is_run_or_shown_for_a_reason() -> None:
    sections = {block.section for block in blocks("README.md")}
    assert sections == {"Two commands", "How to read the answer", "Your own table"}
