from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from regsearch.tracking.mlflow.ui import HOST, free_port

# A job that a shell put into the background is born deaf to Ctrl-C.
SERVE = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); from pathlib import Path;"
SERVE += "from regsearch.tracking.mlflow.ui import serve_ui;"
SERVE += "sys.exit(serve_ui(Path(sys.argv[1]), int(sys.argv[2])))"


def test_a_port_in_use_is_not_taken() -> None:
    with socket.socket() as holder:
        holder.bind((HOST, 0))
        holder.listen()
        taken = holder.getsockname()[1]
        assert free_port(taken) != taken
    assert free_port(taken) == taken


def test_a_server_has_its_ui_already(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from regsearch.tracking.mlflow.ui import serve_ui

    assert serve_ui(tmp_path, uri="http://there:5000") == 0
    assert "http://there:5000" in capsys.readouterr().err


@pytest.mark.parametrize("end", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)])
def test_the_ui_is_served_on_this_machine_until_its_end(uri: str, tmp_path: Path, end: signal.Signals) -> None:
    port = free_port(0)
    environment = {name: text for name, text in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    command = [sys.executable, "-c", SERVE, str(tmp_path), str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as serving:
        assert serving.stderr is not None
        try:
            assert f"http://{HOST}:{port}" in serving.stderr.readline()
            assert answers(port, 60), "the UI did not come up"
            serving.send_signal(end)
            assert serving.wait(20) in (0, -signal.SIGKILL)
            deadline = time.monotonic() + 10
            while answers(port, 0) and time.monotonic() < deadline:
                time.sleep(0.1)
            assert not answers(port, 0), "the server outlived its driver"
        finally:
            serving.kill()


def answers(port: int, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while True:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=2) as reply:
                return bool(reply.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.1)
