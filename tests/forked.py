"""Commands and scripts in processes that are forked, not started anew: four seconds of imports less for each.

What is forked is a whole process all the same: it has its folder, its environment, its standard output, and it ends
with an exit code. What is read as Python starts (its flags, `sitecustomize`, packages on `PYTHONPATH`) it does not see.
"""

from __future__ import annotations

import multiprocessing.process
import os
import runpy
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping
from multiprocessing import forkserver
from pathlib import Path
from subprocess import CompletedProcess, TimeoutExpired
from types import ModuleType

from regsearch.executors.server import start_server
from regsearch.system import forking

_MOST = 600.0


def run(words: list[str], folder: Path, environment: Mapping[str, str] = os.environ) -> CompletedProcess[str]:
    """Run `-m MODULE ...`, `-c CODE ...` or `SCRIPT ...` as `python` would in `folder`."""
    process = Forked(words, folder, environment)
    out, err = process.communicate()
    assert process.returncode is not None
    return CompletedProcess(words, process.returncode, out, err)


class Forked:
    """What `run` runs, while it runs: as much of `subprocess.Popen` as tests use."""

    def __init__(self, words: list[str], folder: Path, environment: Mapping[str, str] = os.environ) -> None:
        start_server()
        self._words, self._place = words, Path(tempfile.mkdtemp(prefix="forked-"))
        self._streams = self._place / "out", self._place / "err"
        self._process = forking.start(_become, words, folder, dict(environment), self._streams, name="regs-test")
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, sign: int) -> None:
        if self.poll() is None and self.pid is not None:
            os.kill(self.pid, sign)

    def communicate(self, timeout: float = _MOST) -> tuple[str, str]:
        self._process.join(timeout)
        if self._process.exitcode is None:
            self._process.kill()
            raise TimeoutExpired(self._words, timeout)
        out, err = (stream.read_text(encoding="utf-8") if stream.exists() else "" for stream in self._streams)
        shutil.rmtree(self._place, ignore_errors=True)
        return out, err


def _become(words: list[str], folder: Path, environment: Mapping[str, str], streams: tuple[Path, Path]) -> None:
    for number, stream in enumerate(streams, start=1):
        with open(stream, "w") as file:
            os.dup2(file.fileno(), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    multiprocessing.process.ORIGINAL_DIR = str(folder)  # type: ignore[attr-defined]
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    # Its own children are forked from the server that it is from; multiprocessing would start another.
    forkserver.ensure_running = forkserver._forkserver.ensure_running = lambda: None
    forking._served = True
    places = environment.get("PYTHONPATH", "").split(os.pathsep)
    if words[0] == "-c":
        sys.path[:0] = ["", *places]
        sys.argv = ["-c", *words[2:]]
        session = sys.modules["__main__"] = ModuleType("__main__")
        exec(words[1], vars(session))
    elif words[0] == "-m":
        sys.path[:0] = [str(folder), *places]
        sys.argv = ["", *words[2:]]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        script = folder / words[0]
        sys.path[:0] = [str(script.parent), *places]
        sys.argv = words
        runpy.run_path(str(script), run_name="__main__")
