"""What tests/conftest.py promises the other tests."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest


def test_a_test_works_in_an_empty_folder_of_its_own(tmp_path: Path, own_folder: Path) -> None:
    assert Path.cwd() == own_folder != tmp_path
    assert not list(own_folder.iterdir())
    assert "REGSEARCH_HOME" not in os.environ


def test_the_network_is_out_of_reach() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"looks up example\.org"):
        urllib.request.urlopen("http://example.org", timeout=1)
    with socket.socket() as outward, pytest.raises(pytest.fail.Exception, match=r"connects to 192\.0\.2\.1"):
        outward.connect(("192.0.2.1", 80))


def test_this_machine_is_in_reach() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()


def test_children_find_the_package_and_the_settings() -> None:
    code = "import os, regsearch.errors; print(os.environ['MKL_CBWR'], os.environ['OMP_NUM_THREADS'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["AVX2", "1"]
