"""Processes forked from the server have the environment of whoever asks, and work without a server too."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from regsearch.system import forking


def note(path: Path) -> None:
    """What the process finds, which this test runs in a process of its own."""
    found = {
        "place": os.environ.get("PLACE"),
        "bytecode": sys.dont_write_bytecode,
        "folder": str(Path.cwd()),
        "interrupts": signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "torch": "torch" in sys.modules,
        "name": psutil.Process().name(),
    }
    path.write_text(json.dumps(found))


@pytest.mark.parametrize("fork", [True, False])
def test_a_process_has_the_environment_of_whoever_asks(
    fork: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forking.start_server()  # which may have run before what is set here
    for name, value in (("PLACE", str(tmp_path)), ("PYTHONDONTWRITEBYTECODE", "1" if fork else "")):
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    process = forking.start(note, tmp_path / "note.json", name="regs-note", fork=fork)
    process.join(60)
    assert process.exitcode == 0
    found = json.loads((tmp_path / "note.json").read_text())
    assert found == {
        "place": str(tmp_path),
        "bytecode": fork,
        "folder": str(tmp_path),
        "interrupts": True,
        "torch": fork,
        "name": "regs-note",
    }


def test_a_folder_whose_name_is_too_long_for_a_socket_means_no_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    monkeypatch.setattr(forking, "_served", False)
    monkeypatch.setattr(forking.forkserver, "ensure_running", forking.forkserver.ForkServer().ensure_running)
    monkeypatch.setitem(forking.multiprocessing.current_process()._config, "tempdir", None)
    forking.start_server()
    process = forking.start(note, tmp_path / "note.json", name="regs-note")
    process.join(60)
    assert process.exitcode == 0 and not json.loads((tmp_path / "note.json").read_text())["torch"]
