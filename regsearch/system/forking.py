"""Start processes that end with this one; forked from a server, which has imported what they need."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path

from regsearch.system.garbage import end_quickly
from regsearch.system.streams import open_streams

# Read when the math libraries load.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# Read by glibc when a process starts: memory that a step frees stays with the process. Else wide packs give it back and
# fetch it again, page by page, in every step; packs of 64 small models were a third slower for it.
MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 32), "MALLOC_TRIM_THRESHOLD_": str(1 << 33)}
# Read when Python starts. Without it a process that is started with code of its own would take a file in the working
# folder, say a random.py, for the module of that name.
SAFE = {"PYTHONSAFEPATH": "1"}
ORPHANED, UNGUARDED, SERVER_GONE = 75, 76, 255
"""Exit codes: its driver is gone; the script that it imports, as every such process does, would start a study;
what Python gives where the server that it was forked from is gone."""
SERVER = ONE_THREAD | MEMORY | SAFE
"""The environment that the server starts in."""
_DEATH_SIGNAL, _SET_NAME = 1, 15  # PR_SET_PDEATHSIG and PR_SET_NAME of Linux's prctl

_HIDING = threading.Lock()
_TRIES, _TRY_SECONDS = 40, 0.05

_served = False
"""Whether this process has started the server."""


def start_server(preloaded: list[str]) -> None:
    """Start the server, unless it runs; it imports these modules while this process goes on.

    There is none, and processes import for themselves, where the folder for temporary files has a name too long for a
    socket, and on other systems than Linux, whose libraries may not live through a fork.
    """
    global _served
    _end_where_imported()
    open_streams()
    if sys.platform != "linux":
        return
    multiprocessing.get_context("forkserver").set_forkserver_preload(preloaded)
    with _environment(SAFE):
        resource_tracker.ensure_running()  # which lets interrupts through again
    with _without_pathless_script(), _environment(SERVER), _without_interrupts(), contextlib.suppress(OSError):
        forkserver.ensure_running()
        _served = True


def imports_script() -> bool:
    """Tell whether a new process can import what this one runs: not a notebook, a session, code given to `python -c`,
    nor a script from standard input or a pipe, whose path is no file or another one in each process.
    """
    script = sys.modules["__main__"]
    if getattr(script, "__spec__", None) is not None:
        return True
    path = getattr(script, "__file__", None)
    if path is None:
        return False
    return os.path.isfile(path) and not path.startswith(("/dev/", "/proc/"))


def start(
    target: Callable[..., None],
    *arguments: object,
    name: str,
    output: Path | None = None,
    daemon: bool = False,
    fork: bool = True,
) -> BaseProcess:
    """Start a process that calls `target(*arguments)` in the environment of this one, and ends with it.

    Args:
        target: is found by its module's name.
        name: as tools that list processes show it, 15 characters at most.
        output: the file that what it prints is appended to, errors too; by default that of this process.
        daemon: it may start no processes by `multiprocessing` itself.
        fork: from the server, where this process has started it; else the process imports what it needs.

    Raises:
        OSError: the system starts no process.
    """
    _end_where_imported()
    open_streams()
    context: ForkServerContext | SpawnContext = multiprocessing.get_context("spawn")
    settings = SAFE
    if fork and _served:
        context, settings = multiprocessing.get_context("forkserver"), SERVER
    given = (target, arguments, dict(os.environ), output)

    def begin() -> BaseProcess:
        process = context.Process(target=_run, args=given, name=name, daemon=daemon)
        with _without_pathless_script(), _environment(settings), _without_interrupts():
            process.start()
        return process

    for _ in range(_TRIES):
        try:
            return begin()
        except (EOFError, ConnectionError):  # the server was killed just now; it is started anew once it is gone
            time.sleep(_TRY_SECONDS)
    return begin()


def was_killed(code: int | None) -> bool:
    """Tell by its exit code whether something else ended a process; None while it runs."""
    return code is not None and (code < 0 or code == SERVER_GONE)


def describe_end(code: int | None) -> str:
    """Say how a process ended, by its exit code: `was ended by SIGKILL`."""
    if code is not None and code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _end_where_imported() -> None:
    """End this process if it imports a script that starts a study, for a process that the study has started."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        os._exit(UNGUARDED)


def _run(
    target: Callable[..., None], arguments: tuple[object, ...], environment: Mapping[str, str], output: Path | None
) -> None:
    _end_with_driver()
    if output is not None:
        with open(output, "ab") as file:
            for stream in (1, 2):
                os.dup2(file.fileno(), stream)
    if sys.platform == "linux":
        name = multiprocessing.current_process().name
        ctypes.CDLL(None).prctl(_SET_NAME, ctypes.c_char_p(name.encode()))
    end_quickly()
    os.environ.clear()
    os.environ.update(environment)
    sys.dont_write_bytecode = bool(environment.get("PYTHONDONTWRITEBYTECODE"))  # which Python reads as it starts
    target(*arguments)


def _end_with_driver() -> None:
    """End this process when the one that asked for it is gone, and with the server, if it was forked from it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)
    driver = multiprocessing.parent_process()
    assert driver is not None, "it is started by multiprocessing"
    threading.Thread(target=_end_after, args=(driver.sentinel,), name="leash", daemon=True).start()


def _end_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(ORPHANED)


@contextlib.contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _without_pathless_script() -> Iterator[None]:
    """Have what is started here not look for a script that it cannot import: Python gives one from standard input the
    path `<stdin>`.
    """
    if imports_script():
        yield
        return
    script = vars(sys.modules["__main__"])
    with _HIDING:
        path = script.get("__file__")
        if path is not None:
            script["__file__"] = None
        try:
            yield
        finally:
            if path is not None:
                script["__file__"] = path


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Have what is started here never hear of Ctrl-C: what it means is for the driver to decide."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
