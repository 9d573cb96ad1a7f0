"""A study that cannot be written is refused in one line, which blames `--out` only where that was given."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures import lay
from tests.study.refusals import refusal


@pytest.fixture
def read_only(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished study none of whose files can be opened for writing; root may write whatever a mode says."""
    folder = lay("0.1.0", "plain-finished", root)
    real, real_mkdir = os.open, os.mkdir

    def refuse(path: Any) -> None:
        if Path(os.fsdecode(path)).is_relative_to(folder):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), os.fsdecode(path))

    def opened(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            refuse(path)
        return real(path, flags, *more, **named)

    def made(path: Any, *more: Any, **named: Any) -> None:
        refuse(path)
        real_mkdir(path, *more, **named)

    def opened_as_text(file: Any, mode: str = "r", *more: Any, **named: Any) -> Any:
        if set(mode) & set("wax+"):
            refuse(file)
        return open(file, mode, *more, **named)

    monkeypatch.setattr("os.open", opened)
    monkeypatch.setattr("os.mkdir", made)
    monkeypatch.setattr("regsearch.workspace.folder.open", opened_as_text, raising=False)
    return folder


@pytest.mark.parametrize("words", ["study finalize small", "trial replay small 1", "study delete small --yes"])
def test_a_study_that_cannot_be_written(read_only: Path, words: str) -> None:
    assert refusal(words).startswith(f"{read_only}: cannot be written (Read-only file system); make it writable, or ")


def test_a_report_blames_out_only_where_it_was_given(read_only: Path) -> None:
    folder = read_only / "finals"
    assert refusal("study report small").startswith(f"{folder}: cannot be written (Read-only file system); make it ")
    shutil.rmtree(folder)
    (read_only / "answer.json").unlink()
    assert refusal("study report small").startswith(f"{read_only}: cannot be written (Read-only file system); make ")
    place = read_only / "page.html"
    line = refusal(f"study report small --out {place}")
    assert line.startswith("--out: cannot be written: Read-only file system (got ")
