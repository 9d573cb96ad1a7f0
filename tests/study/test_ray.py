"""A study on a Ray cluster of two nodes: the answer is that of this machine, whatever happens to a node."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from tests.forked import Forked
from tests.study.small import study_file
from tests.study.test_same_answer import answer, assert_whole, start

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def long_file(folder: Path) -> Path:
    """The small study, with epochs enough that a node can go and another come while it runs."""
    folder.mkdir(exist_ok=True)
    path = study_file(folder, width=2, workers=2)
    path.write_text(
        path.read_text().replace("epochs: 6", "epochs: 40").replace("trials: 24", "trials: 24, pruner: none")
    )
    return path


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("here")
    return answer(start(folder, "start", str(long_file(folder))))


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A head that trains nothing, and a node of one core."""
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    made.add_node(num_cpus=1)
    yield made
    made.shutdown()


def lines(folder: Path) -> int:
    journal = folder / "mlruns" / "studies" / "small" / "search.journal"
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def until(process: Forked, folder: Path, count: int) -> None:
    end = time.monotonic() + 100
    while process.poll() is None and lines(folder) < count and time.monotonic() < end:
        time.sleep(0.02)
    assert process.poll() is None, process.communicate()


def test_a_node_is_killed_and_another_joins(here: dict[str, Any], cluster: Any, tmp_path: Path) -> None:
    second = cluster.add_node(num_cpus=1)
    process = start(tmp_path, "start", str(long_file(tmp_path)), "--ray", cluster.address)
    until(process, tmp_path, 100)
    cluster.remove_node(second, allow_graceful=False)
    until(process, tmp_path, lines(tmp_path) + 30)
    cluster.add_node(num_cpus=1)
    assert answer(process) == here
    assert_whole(tmp_path)
