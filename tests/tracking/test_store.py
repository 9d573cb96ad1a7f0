from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from regsearch.errors import UserError
from regsearch.tracking.mlflow.store import check_store, ensure_store, file_revision, local_file, tracking_uri

MAKE = "import sys; from regsearch.tracking.mlflow.store import ensure_store; ensure_store(sys.argv[1])"


def make(uri: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", MAKE, uri], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def opens(path: Path) -> bool:
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{path}").get_experiment("0").name == "Default"


def test_four_processes_make_one_store_together(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "mlflow.db"
    assert [process.wait(60) for process in [make(f"sqlite:///{path}") for _ in range(4)]] == [0, 0, 0, 0]
    assert opens(path)
    assert sorted(file.name for file in path.parent.iterdir()) == ["mlflow.db", "mlflow.db.lock"]


def test_kills_while_it_is_made_leave_nothing_broken(tmp_path: Path) -> None:
    path, pick = tmp_path / "mlflow.db", random.Random(0)
    killed_midway = 0
    for _ in range(12):
        process = make(f"sqlite:///{path}")
        deadline = time.monotonic() + 30
        while not list(tmp_path.glob("mlflow.db.new-*")) and not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(pick.uniform(0.0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed_midway += not path.exists()
        # Either there is no store yet, or a whole one.
        assert file_revision(path) is not None or not path.exists()
        if killed_midway == 3:
            break
    assert killed_midway
    ensure_store(f"sqlite:///{path}")
    assert opens(path)
    assert not list(tmp_path.glob("mlflow.db.new-*"))


def test_an_existing_store_is_left_alone(uri: str) -> None:
    path = local_file(uri)
    assert path is not None
    before = path.read_bytes()
    ensure_store(uri)
    assert path.read_bytes() == before


@pytest.mark.parametrize("address", ["mlruns", "file:///tmp/x", "gopher://x", "sqlite://", "sqlite:///:memory:"])
def test_an_address_of_no_known_kind_is_refused(address: str) -> None:
    with pytest.raises(UserError, match=r"tracking\.uri"):
        check_store(address)


def test_places_that_cannot_hold_a_store_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as database:
        database.execute("CREATE TABLE cats (name)")
    for place in (tmp_path, tmp_path / "file", tmp_path / "file" / "mlflow.db", other):
        with pytest.raises(UserError, match=r"tracking\.uri"):
            ensure_store(f"sqlite:///{place}")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "other.db"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_folder_without_write_access_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="cannot be written"):
        ensure_store(f"sqlite:///{tmp_path / 'mlflow.db'}")


def test_the_address_is_the_given_one_then_the_environments_then_the_local_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri(None, tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://there:5000")
    assert tracking_uri(None, tmp_path) == "http://there:5000"
    assert tracking_uri("sqlite:////x.db", tmp_path) == "sqlite:////x.db"
