"""The writer process on a real store: killed, orphaned, cut off, and still nothing lost and nothing twice."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from regsearch.tracking.log.commands import Commands
from regsearch.tracking.log.cursor import cursor_path
from regsearch.tracking.log.outbox import Outbox
from regsearch.tracking.log.records import Artifact, RunEnd, StudyStart
from regsearch.tracking.mlflow import delivery_sqlite, writer
from regsearch.tracking.mlflow.writer_process import start_writer
from tests.tracking.conftest import Writers
from tests.tracking.readback import snapshot
from tests.tracking.studies import BEGIN, EPOCHS, FINALS, TRIALS, metrics, start, study


@pytest.fixture(scope="session")
def undisturbed(template: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The store after a delivery that nothing disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    shutil.copy(template, folder / "mlflow.db")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    path = told_outbox(folder)
    handle = start_writer(path, uri)
    assert handle.drain(60)
    return snapshot(uri)


def outbox_path(root: Path) -> Path:
    return root / "studies" / "digits" / "outbox.jsonl"


def told_outbox(root: Path) -> Path:
    with Outbox(outbox_path(root)) as outbox:
        for record in study(TRIALS, EPOCHS, finals=FINALS):
            outbox.append(record)
    return outbox.path


def test_a_drained_outbox_is_all_at_the_store(undisturbed: dict[str, object]) -> None:
    assert len(undisturbed) == 1 + TRIALS + FINALS


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.sweep)])
def test_kills_at_random_moments_lose_nothing_and_repeat_nothing(
    tmp_path: Path, uri: str, writers: Writers, undisturbed: dict[str, object], seed: int
) -> None:
    path = outbox_path(tmp_path)
    command = [sys.executable, "-m", "tests.tracking.kills", str(path), uri, str(seed), "14"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert 2 <= int(answer.stdout) < 14, "the kills must strike before, while and after something is delivered"
    assert writers(path, uri).drain(60)
    assert snapshot(uri) == undisturbed


@pytest.mark.slow
def test_kills_while_rows_are_written(tmp_path: Path, uri: str, undisturbed: dict[str, object]) -> None:
    """One process for each kill, just before or after the n-th statement of a delivery."""
    path = told_outbox(tmp_path)
    code = """
import os, signal, sys, sqlalchemy
from pathlib import Path
from regsearch.tracking.mlflow import delivery, delivery_sqlite
from regsearch.tracking.mlflow.changes import merge
from regsearch.tracking.log.outbox import read_from
path = Path(sys.argv[1])
records = [record for record, _ in read_from(path)]
def deliver(left):
    def count(*_):
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    lane = delivery_sqlite.BulkLane(delivery.ClientLane(sys.argv[2], records[0], path.parents[2] / "artifacts"))
    for event in ("before_cursor_execute", "after_cursor_execute", "commit"):
        sqlalchemy.event.listen(lane._engine, event, count)
    for first in range(0, len(records), 100):
        for step in merge(records[first:first + 100]):
            lane.apply(step)
for left in (1, 4, 9, 12, 20):
    child = os.fork()
    if child == 0:
        deliver(left)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    answer = subprocess.run([sys.executable, "-c", code, str(path), uri], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == [str(-signal.SIGKILL)] * 5
    handle = start_writer(path, uri)
    assert handle.drain(60)
    assert snapshot(uri) == undisturbed


def test_the_driver_sees_progress_and_cost(tmp_path: Path, uri: str, writers: Writers) -> None:
    outbox = Outbox(outbox_path(tmp_path))
    handle = writers(outbox.path, uri)
    assert handle.alive()
    begin = next(iter(study(1, 1)))
    outbox.append(begin)
    outbox.append(start("trial", 0))
    outbox.append(metrics("trial", 0, 1))
    outbox.commit()
    assert handle.flush(30)
    assert snapshot(uri)["trial-000"]["status"] == "RUNNING"
    outbox.append(metrics("trial", 0, 2))
    outbox.commit()
    asked = time.monotonic()
    while not handle.delivered() and time.monotonic() - asked < 10:
        time.sleep(0.05)
    assert time.monotonic() - asked < 3.0  # a running trial is seen live, unasked
    status = handle.status()
    assert (status.lane, status.state, status.error, status.refused) == ("bulk", "waiting", "", 0)
    assert set(status.cpu) == {"import", "store", "delivery", "total"}
    assert 0 < status.cpu["delivery"] < status.cpu["total"] < 60
    assert handle.drain(30)
    assert handle.status().state == "drained"
    assert not handle.alive()


def test_a_writer_that_is_killed_is_followed_by_another(
    tmp_path: Path, uri: str, writers: Writers, undisturbed: dict[str, object]
) -> None:
    """As the kernel does when memory is short: at its start, while the driver waits for the store, at the end."""
    path = told_outbox(tmp_path)
    handle = writers(path, uri)
    handle.process.kill()
    handle.process.join()
    assert handle.begin_anew() == "the process that writes to MLflow was ended by SIGKILL: another one goes on"
    assert handle.begin_anew() == "", "it is at work"
    handle.process.kill()
    handle.process.join()
    handle.await_store(30)
    assert handle.alive() and handle.status().state in ("waiting", "delivering")
    handle.process.kill()
    handle.process.join()
    assert handle.drain(60)
    assert snapshot(uri) == undisturbed
    other = writers(path, uri)
    for _ in range(4):
        other.process.kill()
        other.process.join()
        said = other.begin_anew()
    assert said == "", "not for ever"


def test_the_writer_dies_with_a_killed_driver(tmp_path: Path, uri: str) -> None:
    code = (
        "import sys, time; from regsearch.tracking.mlflow.writer_process import start_writer;"
        "print(start_writer(sys.argv[1], sys.argv[2]).process.pid, flush=True); time.sleep(60)"
    )
    path = told_outbox(tmp_path)
    driver = subprocess.Popen([sys.executable, "-c", code, str(path), uri], stdout=subprocess.PIPE)
    assert driver.stdout is not None
    writer = int(driver.stdout.readline())
    driver.kill()
    driver.wait()
    driver.stdout.close()
    deadline = time.monotonic() + 10
    while running(writer) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not running(writer)


def running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_ctrl_c_in_the_terminal_is_not_the_writers(tmp_path: Path, uri: str, writers: Writers) -> None:
    handle = writers(told_outbox(tmp_path), uri)
    assert handle.process.pid is not None
    time.sleep(0.5)
    assert os.getpgid(handle.process.pid) != os.getpgid(0)
    os.kill(handle.process.pid, signal.SIGINT)
    assert handle.drain(60)


def test_a_store_that_cannot_be_used_is_reported(tmp_path: Path, uri: str, writers: Writers) -> None:
    assert writers(told_outbox(tmp_path), uri).drain(60)
    with Outbox(outbox_path(tmp_path / "other")) as outbox:
        outbox.append(StudyStart("digits", {}, {}, BEGIN + 5))
    handle = writers(outbox.path, uri)
    assert not handle.drain(60)
    assert handle.status().state == "refused"
    assert "not this study's" in handle.status().error
    assert not handle.delivered()


def test_what_the_store_refuses_for_ever_does_not_hold_up_the_rest(tmp_path: Path, uri: str, writers: Writers) -> None:
    gone = tmp_path / "gone.png"
    gone.write_text("x")
    kept = tmp_path / "kept.txt"
    kept.write_text("y")
    with Outbox(outbox_path(tmp_path)) as outbox:
        outbox.append(next(iter(study(1, 1))))
        outbox.append(RunEnd("trial", 9, "COMPLETE", None, BEGIN))  # it never began
        outbox.append(Artifact("study", 0, str(gone), "plots"))
        outbox.append(Artifact("study", 0, str(kept), "plots"))
        outbox.append(start("trial", 0))
    gone.unlink()
    handle = writers(outbox.path, uri)
    assert handle.drain(60)
    assert handle.status().refused == 2
    assert set(snapshot(uri)) == {"digits", "trial-000"}
    assert [file.name for file in (tmp_path / "artifacts").rglob("plots/*")] == ["kept.txt"]


def test_a_cursor_of_another_outbox_is_not_believed(
    tmp_path: Path, uri: str, writers: Writers, undisturbed: dict[str, object]
) -> None:
    path = told_outbox(tmp_path)
    cursor_path(path).write_text(json.dumps({"offset": path.stat().st_size, "outbox": 1}))
    assert writers(path, uri).drain(60)
    assert snapshot(uri) == undisturbed


def test_a_store_that_loses_answers_takes_a_batch_bit_by_bit(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four answers in ten are lost, after the store has acted; a batch begun anew each time would never arrive."""
    pick, lost = random.Random(0), 0

    def lossy(name: str) -> None:
        real = getattr(MlflowClient, name)

        def request(*given: Any, **named: Any) -> Any:
            nonlocal lost
            answer = real(*given, **named)
            if pick.random() < 0.4:
                lost += 1
                assert lost < 100, "it does not come further"
                raise ConnectionError("the answer is lost")
            return answer

        monkeypatch.setattr(MlflowClient, name, request)

    for name in ("create_run", "log_batch", "set_terminated"):
        lossy(name)
    monkeypatch.setattr(delivery_sqlite, "fits", lambda uri: False)
    monkeypatch.setattr(writer, "RETRY_SECONDS", (0.0,))
    with Outbox(outbox_path(tmp_path)) as outbox:
        for record in study(6, 2):
            outbox.append(record)
    commands = Commands(())
    commands.draining = commands.flushing = True
    writer.Writer(outbox.path, uri, tmp_path / "artifacts", commands).run()
    assert lost >= 4
    found = snapshot(uri)
    assert len(found) == 7 and not [name for name, run in found.items() if run["status"] == "RUNNING"]


@pytest.mark.slow
def test_a_server_that_is_away_gets_everything_once_it_is_back(
    tmp_path: Path, uri: str, writers: Writers, undisturbed: dict[str, object]
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    handle = writers(told_outbox(tmp_path), address)
    deadline = time.monotonic() + 30
    while handle.status().state != "retrying" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert handle.status().error
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--port", str(port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    server = subprocess.Popen(
        [*command, "--workers", "1", "--artifacts-destination", str(tmp_path / "artifacts")],
        env=environment,
        start_new_session=True,
        **quiet,  # type: ignore[call-overload]
    )
    try:
        assert handle.drain(120)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(20)
    assert handle.status().lane == "client"
    assert snapshot(uri) == undisturbed
