"""Serves the MLflow UI of a store on this machine alone, until Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

from regsearch.system.processes import child_environment
from regsearch.tracking.mlflow.store import ensure_store, tracking_uri

HOST, USUAL_PORT = "127.0.0.1", 5000
END_SECONDS = 5.0


def serve_ui(root: Path, port: int | None = None, uri: str | None = None) -> int:
    """Run the MLflow UI until Ctrl-C or its end, and return an exit code.

    Args:
        root: folder of the default store.
        port: the port to listen on; a free one is taken where it (by default 5000) is in use.
        uri: another store; one behind a server has its UI there already, and only its address is printed.

    The address goes to standard error before anything is started. Only this machine can reach it.

    Raises:
        UserError: the store cannot be used.
    """
    address = tracking_uri(uri, root)
    if address.startswith(("http://", "https://")):
        print(f"MLflow UI: {address}", file=sys.stderr)
        return 0
    listening = free_port(port or USUAL_PORT)
    print(f"MLflow UI: http://{HOST}:{listening}  (Ctrl-C ends it)", file=sys.stderr, flush=True)
    if moved := ensure_store(address):
        print(moved, file=sys.stderr)
    keeper = subprocess.Popen(
        [sys.executable, "-m", "regsearch.tracking.mlflow.ui", address, str(listening)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=child_environment(),
        start_new_session=True,
    )
    try:
        return keeper.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        # The keeper ends the server and its workers when this pipe closes, be it here or because this process died.
        if keeper.stdin is not None:
            keeper.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            keeper.wait(END_SECONDS + 2)


def free_port(wanted: int) -> int:
    """Choose `wanted` if nothing listens there, else any free port."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free port")


def _keep(uri: str, port: str) -> int:
    """Run the server in this process's group and end the whole group when standard input closes."""
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--registry-store-uri", uri]
    server = subprocess.Popen([*command, "--host", HOST, "--port", port, "--workers", "1"], stdin=subprocess.DEVNULL)
    threading.Thread(target=_end_on_close, args=(server,), daemon=True).start()
    return server.wait()


def _end_on_close(server: subprocess.Popen[bytes]) -> None:
    sys.stdin.read()
    server.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(END_SECONDS)
    os.killpg(0, signal.SIGKILL)  # what the server left running, and this process


if __name__ == "__main__":
    sys.exit(_keep(*sys.argv[1:3]))
