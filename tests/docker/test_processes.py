"""The commands that compose.yaml starts, as processes: a study that is submitted ends in their MLflow."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.docker.places import BIN, Services, services
from tests.servers import execute, postgres
from tests.study.small import study_file

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def up() -> Iterator[Services]:
    with postgres() as server, services(server) as made:
        yield made


def ask(up: Services, path: str, body: dict[str, Any] | None, host: str | None = None) -> Any:
    """What MLflow's REST interface answers; without a body it is asked by GET."""
    headers = {"Content-Type": "application/json", **({"Host": host} if host else {})}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{up.uri}/api/2.0/mlflow/{path}", data, headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def submit(up: Services, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    known = {**up.driver.env, **env}
    command = [str(BIN / "submit.py"), *words]
    return subprocess.run(command, cwd=up.driver.folder, env=known, capture_output=True, text=True, timeout=200)


def test_a_submitted_study_ends_in_mlflow(up: Services) -> None:
    study_file(up.driver.folder, width=2, workers=2)
    done = submit(up, "small.yaml", "--json", "--storage", "${REGSEARCH_STORAGE}")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["pack"]["workers"] == 1, "the head and the driver have no cores"
    found = ask(up, "experiments/search", {"filter": "name = 'small'", "max_results": 10})
    (experiment,) = found["experiments"]
    assert experiment["artifact_location"].startswith("mlflow-artifacts:/")
    asked = {"experiment_ids": [experiment["experiment_id"]], "filter": "tags.`regsearch.kind` = 'trial'"}
    runs = ask(up, "runs/search", {**asked, "max_results": 1000})["runs"]
    ends = [run["info"]["status"] for run in runs]
    assert len(runs) == 24 and set(ends) <= {"FINISHED", "KILLED", "FAILED"}
    assert ends.count("FINISHED") == answer["trials"]["complete"]
    champion = ask(up, "registered-models/alias?name=small&alias=champion", None)["model_version"]
    assert champion["status"] == "READY"
    storage = up.driver.env["REGSEARCH_STORAGE"].replace("+psycopg2", "")
    storage = storage.replace("search@", f"search:{up.passwords['SEARCH_DB_PASSWORD']}@")
    assert execute(storage, "SELECT count(*) FROM trials") == [(24,)]
    assert not up.driver.healthy("node"), "its node ends with the study"
    assert all(place.healthy(what) for place, what in zip(up.places, ("mlflow", "head", "node"), strict=False))


@pytest.mark.sweep
def test_a_stop_ends_the_round_and_the_study_goes_on(up: Services) -> None:
    """By the signal that `docker stop` sends."""
    file = study_file(up.driver.folder, width=2, workers=2)
    file.write_text(file.read_text().replace("name: small", "name: long").replace("epochs: 6", "epochs: 60"))
    up.driver.start("submit.py", file.name)
    stopped = up.driver.process
    assert stopped is not None
    until(lambda: "search" in up.driver.said())
    stopped.terminate()
    assert stopped.wait(100) == 130, up.driver.said()
    assert "`regsearch study resume long` goes on" in up.driver.said() and not up.driver.healthy("node")
    done = submit(up, "resume", "long", "--json")
    assert done.returncode == 0 and sum(json.loads(done.stdout)["trials"].values()) == 24


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 100
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_without_the_token_nobody_is_answered(up: Services) -> None:
    import grpc

    port = up.head.env["RAY_PORT"]
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/ray.rpc.NodeInfoGcsService/GetAllNodeInfo")
        for known in ((), (("authorization", "Bearer wrong"),)):
            with pytest.raises(grpc.RpcError) as refused:
                call(b"", timeout=10, metadata=known)
            assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        call(b"", timeout=10, metadata=(("authorization", f"Bearer {up.token}"),))


def test_a_driver_with_another_token_is_refused(up: Services) -> None:
    study_file(up.driver.folder)
    begun = time.monotonic()
    done = submit(up, "small.yaml", RAY_AUTH_TOKEN="f" * 64)
    assert done.returncode == 2 and "takes another token" in done.stderr and done.stderr.count("\n") == 1
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"RAY_ADDRESS": "127.0.0.1:1"}, "no cluster answers at RAY_ADDRESS 127.0.0.1:1"),
        ({"RAY_ADDRESS": "head"}, "allowed is HOST:PORT"),
    ],
)
def test_an_address_of_no_use_is_refused_in_a_line(up: Services, env: dict[str, str], said: str) -> None:
    begun = time.monotonic()
    done = submit(up, "small.yaml", **env)
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1
    assert time.monotonic() - begun < 10


def test_the_token_lies_in_files_of_its_owner(up: Services) -> None:
    for place in (up.head, up.worker):
        file = Path(place.env["RAY_AUTH_TOKEN_PATH"])
        assert file.read_text() == up.token and stat.S_IMODE(file.stat().st_mode) == 0o600
        assert place.process is not None
        for process in (psutil.Process(place.process.pid), *psutil.Process(place.process.pid).children(recursive=True)):
            assert up.token not in " ".join(process.cmdline())
            assert process.environ().get("RAY_AUTH_TOKEN") is None or process.pid == place.process.pid


def test_no_secret_is_written_to_a_log(up: Services) -> None:
    secrets = {up.token, *up.passwords.values()}
    logs = [up.mlflow.log, up.head.log, up.worker.log]
    logs += [path for path in (up.head.folder.parent / "ray").rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(logs) > 10
    for log in logs:
        text = log.read_text(errors="replace")
        assert not [secret for secret in secrets if secret in text], log


def test_mlflow_answers_to_its_own_name_alone(up: Services) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(up, "experiments/search", {"max_results": 1}, host="evil.example")
    assert refused.value.code == 403
    refused.value.close()
    assert up.mlflow.process is not None
    mine = psutil.Process(up.mlflow.process.pid)
    listening = {
        connection.laddr.ip
        for process in (mine, *mine.children(recursive=True))
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}
    assert sum(process.memory_info().rss for process in (mine, *mine.children(recursive=True))) < 1e9


def test_each_role_enters_its_own_database_alone() -> None:
    from tests.docker.places import make_databases

    passwords = {"MLFLOW_DB_PASSWORD": "first", "SEARCH_DB_PASSWORD": "second"}
    with postgres() as server:
        make_databases(server, passwords)
        where = re.sub(r".*@(.*)/.*", r"\1", server.uri)
        for role, password, other in (("mlflow", "first", "search"), ("search", "second", "mlflow")):
            assert execute(f"postgresql://{role}:{password}@{where}/{role}", "SELECT current_user") == [(role,)]
            for wrong in (f"{role}:{password}@{where}/{other}", f"{role}:wrong@{where}/{role}"):
                with pytest.raises(Exception, match=r"permission denied|password authentication failed"):
                    execute(f"postgresql://{wrong}", "SELECT 1")
