"""Packs on a Ray cluster: what happens to workers and nodes changes no bit; a useless address is refused at once."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
from ray.cluster_utils import Cluster

from regsearch.errors import UserError
from regsearch.executors import ray as on_ray
from regsearch.executors.executor import Executor
from regsearch.executors.local import LocalExecutor
from regsearch.executors.ray import RayExecutor, connect
from tests.executors.lanes import Curves, said, sealed, trained

pytestmark = pytest.mark.timeout(200)


@pytest.fixture(scope="module")
def peace(tmp_path_factory: pytest.TempPathFactory) -> Curves:
    """What this machine gives."""
    folder = tmp_path_factory.mktemp("peace")
    return trained(LocalExecutor(sealed(folder), said.append))[0]


@pytest.fixture(params=[2])
def cluster(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A head that trains nothing, and nodes of one core."""
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    made.nodes = [made.add_node(num_cpus=1) for _ in range(request.param)]
    ray.init(made.address, log_to_driver=False)
    yield made
    if ray.is_initialized():
        ray.shutdown()
    made.shutdown()


def executor(folder: Path, cluster: Any, workers: int | None = None) -> RayExecutor:
    return RayExecutor(cluster.address, sealed(folder, workers=workers), said.append)


def process(made: Executor, index: int) -> psutil.Process:
    """The process of a worker."""
    worker: Any = made.pool.slots[index].handle
    pid = ray.get(worker._actor.__ray_call__.remote(lambda self: os.getpid()))
    return psutil.Process(pid)


@pytest.mark.sweep
def test_a_worker_is_killed_and_one_stops_past_its_lease(
    tmp_path: Path, cluster: Any, peace: Curves, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the stopped one says when it goes on is heard by nobody."""
    made = executor(tmp_path, cluster)
    assert made.workers == 2 and trained(made)[0] == peace
    disturbed, reasons = trained(executor(tmp_path, cluster), lambda made: process(made, 1).kill())
    assert disturbed == peace and not any(reasons.values())
    assert said[0].startswith("a pack worker is lost: ")
    made = executor(tmp_path, cluster)
    monkeypatch.setattr(made.pool, "answer_within", lambda: 2.0)
    stopped = [process(made, 0), process(made, 1)]
    disturbed, _ = trained(made, lambda made: stopped[0].suspend())
    assert disturbed == peace and said[0].startswith("a pack worker gave no answer in 2 seconds")
    if stopped[0].is_running():
        stopped[0].resume()


@pytest.mark.sweep
def test_a_node_is_killed_and_the_other_trains_its_lanes_too(tmp_path: Path, cluster: Any, peace: Curves) -> None:
    disturbed, _ = trained(executor(tmp_path, cluster), lambda made: lose(made, cluster, 1))
    assert disturbed == peace and said[0].startswith("a pack worker is lost: ")


@pytest.mark.sweep
def test_without_a_node_it_waits_for_one(tmp_path: Path, cluster: Any, peace: Curves) -> None:
    def say(line: str) -> None:
        heard.append(line)
        if "waiting" in line:
            cluster.add_node(num_cpus=1)

    heard: list[str] = []
    made = RayExecutor(cluster.address, sealed(tmp_path, workers=None), say)
    disturbed, _ = trained(made, lambda made: lose(made, cluster, 0, 1))
    assert disturbed == peace and "there is no device left to train on: waiting for one" in heard


def lose(made: Executor, cluster: Any, *indices: int) -> None:
    """Kill the nodes of these workers, as a power cut would."""
    processes = [process(made, index) for index in indices]
    gone = {made.pool.slots[index].handle.node for index in indices}  # type: ignore[attr-defined]
    for node in [node for node in cluster.nodes if node.node_id in gone]:
        cluster.remove_node(node, allow_graceful=False)
    for each in processes:
        if each.is_running():
            each.kill()
    until(lambda: not any(each.is_running() for each in processes))


@pytest.mark.slow
@pytest.mark.parametrize("cluster", [1], indirect=True)
def test_a_node_that_joins_gets_lanes_and_their_trials_go_on(tmp_path: Path, cluster: Any, peace: Curves) -> None:
    made = executor(tmp_path, cluster)
    assert made.workers == 1

    def another(made: Any) -> None:
        cluster.add_node(num_cpus=1)
        host = made.pool.host
        until(lambda: host._free() != [])
        host._looked = 0.0
        made.pool.add_arrivals()
        assert made.workers == 1 and len(host._coming) == 1
        until(lambda: host._coming[0].has_replied())
        host._looked = 0.0

    disturbed, _ = trained(made, another)
    assert disturbed == peace and said == ["another pack worker has come: there are 2"]


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.sweep
def test_this_machine_as_a_cluster(tmp_path: Path, peace: Curves) -> None:
    made = RayExecutor("local", sealed(tmp_path), said.append)
    idle = [process(made, index).memory_info().rss for index in range(2)]
    assert max(idle) < 700e6, "an idle worker"
    assert trained(made)[0] == peace
    assert not ray.is_initialized()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # files that Ray leaves to the collector
def test_a_client_trains_on_the_cluster_that_it_is_no_part_of(tmp_path: Path, peace: Curves) -> None:
    """Over Ray Client (ray://): a worker is killed meanwhile, and no bit differs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    head = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 2, "include_dashboard": False, "ray_client_server_port": port},
    )
    try:
        made = RayExecutor(f"ray://127.0.0.1:{port}", sealed(tmp_path), said.append)
        assert ray.util.client.ray.is_connected() and made.workers == 2
        disturbed, reasons = trained(made, lambda made: process(made, 1).kill())
        assert disturbed == peace and not any(reasons.values())
        assert said[0].startswith("a pack worker is lost: ")
        assert not ray.is_initialized()
    finally:
        head.shutdown()


@pytest.mark.parametrize(("failures", "joins"), [(0, True), (2, True), (3, False)])
def test_a_client_whose_server_died_asks_again(failures: int, joins: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its failure, which cannot be provoked, is Ray's of version 2.60; see ray#63202."""
    asked: list[str] = []

    def init(address: str, **how: object) -> None:
        asked.append(address)
        if len(asked) <= failures:
            raise ConnectionAbortedError("Initialization failure from server:\nStarting Ray client server failed.")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(on_ray, "_refuse_silent", lambda address: None)
    monkeypatch.setattr(on_ray, "capacities", lambda on_gpu: {"node": 2})
    with contextlib.nullcontext() if joins else pytest.raises(UserError, match="cannot be joined"):
        connect("ray://127.0.0.1:10001", "cpu")
    assert len(asked) == min(failures + 1, 3)
    on_ray.leave()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("nowhere", "no address of a cluster"),
        ("127.0.0.1:1", "no cluster answers"),
        ("ray://127.0.0.1:1", "no cluster answers"),
        ("SILENT", "no cluster answers"),
    ],
)
def test_an_address_of_no_use(address: str, said: str) -> None:
    start = time.monotonic()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(UserError, match=said) as caught:
            connect(address.replace("SILENT", f"127.0.0.1:{silent.getsockname()[1]}"), "cpu")
    assert time.monotonic() - start < 10 and "--ray" in str(caught.value)


@pytest.mark.slow
def test_a_gpu_that_no_node_has() -> None:
    with pytest.raises(UserError, match="the cluster has no GPU"):
        connect("local", "cuda")
    assert not ray.is_initialized()
