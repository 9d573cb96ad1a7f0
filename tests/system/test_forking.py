"""Processes forked from the server have the environment of whoever asks, and work without a server too."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from regsearch.executors.server import start_server
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
    start_server()  # which may have run before what is set here
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


def test_a_server_that_is_killed_is_started_anew(tmp_path: Path) -> None:
    start_server()
    server = forking.forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    os.kill(server, signal.SIGKILL)  # and at once, so that it may be seen to live
    process = forking.start(note, tmp_path / "note.json", name="regs-note")
    process.join(60)
    assert process.exitcode == 0 and json.loads((tmp_path / "note.json").read_text())["name"] == "regs-note"
    assert forking.describe_end(-9) == "was ended by SIGKILL" and forking.describe_end(3) == "ended with exit code 3"


@pytest.mark.parametrize(
    "closed", ["<&- >&- 2>&-", *(pytest.param(one, marks=pytest.mark.slow) for one in (">&-", "2>&-"))]
)
def test_standard_streams_may_be_closed(closed: str, tmp_path: Path) -> None:
    """And modules of the working folder are not taken for those of the libraries."""
    for name in ("torch", "random", "queue"):
        (tmp_path / f"{name}.py").write_text("x = 1\n")
    (tmp_path / "t.yaml").write_text("name: t\ndata: {source: 'sklearn:iris'}\nmodel: {name: mlp}\n")
    script = tmp_path / "elsewhere" / "script.py"
    script.parent.mkdir()
    script.write_text(
        "from regsearch.cli.app import main\nimport sys\nsys.argv[1:] = ['study', 'start', 't.yaml', '--dry-run']\n"
        "if __name__ == '__main__':\n    main()\n"
    )
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} elsewhere/script.py {closed}"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "" and ("column" in done.stdout) == (">&-" not in closed.replace("2>&-", ""))


def test_a_folder_whose_name_is_too_long_for_a_socket_means_no_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    monkeypatch.setattr(forking, "_served", False)
    monkeypatch.setattr(forking.forkserver, "ensure_running", forking.forkserver.ForkServer().ensure_running)
    monkeypatch.setitem(forking.multiprocessing.current_process()._config, "tempdir", None)
    start_server()
    process = forking.start(note, tmp_path / "note.json", name="regs-note")
    process.join(60)
    assert process.exitcode == 0 and not json.loads((tmp_path / "note.json").read_text())["torch"]


NOTED = """
from regsearch.system import forking
if __name__ == "__main__":
    print(forking.imports_script(), __file__ if "__file__" in dir() else "no file", flush=True)
    begun = [forking.start(print, "run", name="regs-print", fork=False) for _ in range(2)]
    [each.join() for each in begun]
    print([each.exitcode for each in begun], __file__ if "__file__" in dir() else "no file")
"""


@pytest.mark.parametrize("way", ["-", "/dev/stdin", "-c", "script.py", "-m script"])
def test_a_script_may_come_from_anywhere(way: str, tmp_path: Path) -> None:
    """From standard input its path is `<stdin>`, which a process that is started once looked for, and died."""
    (tmp_path / "script.py").write_text(NOTED)
    words = [*way.split(), *([NOTED] if way == "-c" else [])]
    done = subprocess.run(
        [sys.executable, *words], input=NOTED, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    path = {
        "-": "<stdin>",
        "-c": "no file",
        **dict.fromkeys(("script.py", "-m script"), str(tmp_path / "script.py")),
    }.get(way, way)
    imported = way in ("script.py", "-m script")
    assert done.stdout.splitlines() == [f"{imported} {path}", "run", "run", f"[0, 0] {path}"], done.stderr
