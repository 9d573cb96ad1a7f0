"""What every test gets: a folder of its own to work in, one thread, products that are bitwise the same, no network."""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Read when torch and its math library load, hence set before any test file is imported; child processes inherit them.
os.environ.update({"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "MKL_CBWR": "AVX2"})
# Nothing that is tested may call home.
os.environ.update({"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "RAY_USAGE_STATS_ENABLED": "0"})
os.environ["MPLBACKEND"] = "agg"
# Children started from a test's own folder find the package as the tests do.
os.environ["PYTHONPATH"] = os.pathsep.join(
    dict.fromkeys([str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))])
)
# What a developer's shell may hold and a study would obey.
OBEYED = ("REGSEARCH_HOME", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_ID", "COLUMNS", "LINES")
for _name in OBEYED:
    os.environ.pop(_name, None)

from regsearch.executors import server  # noqa: E402  (torch and its library read the environment)

# A server of a user's need not wait for MLflow; one that forks the writers of a hundred studies had better.
server.PRELOADED.append("mlflow.store.tracking.sqlalchemy_store")

# As in the package's own processes: what is imported is no garbage, and looking at it takes a twentieth of the time.
gc.set_threshold(100_000, 50, 100)

_HERE = {None, "", "localhost", "0.0.0.0", "::", "::1", socket.gethostname()}


@pytest.fixture(autouse=True)
def own_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, not `tmp_path`: what a test leaves there by accident meets no other test."""
    folder = tmp_path_factory.mktemp("cwd")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(autouse=True, scope="session")
def no_network() -> Iterator[None]:
    """Connections and look-ups beyond this machine fail the test, also where a library would catch the error."""
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _local(address[0]):
            pytest.fail(f"a test connects to {address[0]}")
        connect(self, address)

    def guarded_look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        if not _local(host):
            pytest.fail(f"a test looks up {host}")
        return look_up(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket, "getaddrinfo", guarded_look_up)
        yield


def _local(host: Any) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    return name in _HERE or str(name).startswith("127.")
