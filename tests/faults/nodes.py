"""A Ray cluster: a node is killed, a worker is killed, or it stops past its lease and then goes on."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from tests.faults.fault import Fault, Scene, Surroundings, in_search, wait_for
from tests.faults.setups import CLUSTER
from tests.faults.workers import NO_ANSWER, replaced

NODES = 2
_one_cluster = threading.Lock()
"""Two at once take more memory than small machines have."""


@contextmanager
def cluster(folder: Path) -> Iterator[Surroundings]:
    """A head that trains nothing, and two nodes of one core."""
    from ray.cluster_utils import Cluster

    with _one_cluster:
        # Its signal handlers are for main threads; this block ends it.
        head = {"num_cpus": 0, "include_dashboard": False}
        made = Cluster(initialize_head=True, head_node_args=head, shutdown_at_exit=False)
        try:
            nodes = [made.add_node(num_cpus=1) for _ in range(NODES)]
            around = Surroundings(words=("--ray", made.address))
            around.parts |= {"cluster": made, "nodes": nodes}
            yield around
        finally:
            made.shutdown()


def _workers(node: Any) -> list[psutil.Process]:
    """The pack workers of a node."""
    with suppress(psutil.Error):
        raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
        return [each for each in raylet.children(recursive=True) if _named(each).startswith("ray::PackActor")]
    return []


def _named(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def _node(scene: Scene) -> Any | None:
    """One that has a worker."""
    busy = [node for node in scene.around.parts["nodes"] if _workers(node)]
    return scene.pick.choice(busy) if busy else None


def _lose_node(scene: Scene) -> bool:
    """As a power cut does: all of its processes at once."""
    parts, node = scene.around.parts, _node(scene)
    if node is None:
        return False
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    family = raylet.children(recursive=True)
    parts["nodes"].remove(node)
    for process in (raylet, *family):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    parts["cluster"].remove_node(node, allow_graceful=False)
    return True


def _add_node(scene: Scene) -> None:
    parts = scene.around.parts
    time.sleep(scene.pick.uniform(0, 3))
    while len(parts["nodes"]) < NODES:
        parts["nodes"].append(parts["cluster"].add_node(num_cpus=1, wait=False))


def _kill_worker(scene: Scene) -> bool:
    node = _node(scene)
    for worker in _workers(node) if node is not None else []:
        with suppress(psutil.NoSuchProcess):
            worker.kill()
    return node is not None


def _stop_worker(scene: Scene) -> bool:
    """What it says when it goes on is heard by nobody: its trials are in other hands."""
    node = _node(scene)
    if node is None:
        return False
    stopped, told = _workers(node), _taken_for_gone(scene)
    for worker in stopped:
        with suppress(psutil.NoSuchProcess):
            worker.suspend()
    wait_for(lambda: _taken_for_gone(scene) > told or not scene.command.running(), 60)
    time.sleep(scene.pick.uniform(0, 2))
    for worker in stopped:
        with suppress(ProcessLookupError):
            os.kill(worker.pid, signal.SIGCONT)
    return _taken_for_gone(scene) > told


def _taken_for_gone(scene: Scene) -> int:
    return sum(NO_ANSWER in line for line in scene.command.lines)


FAULTS = (
    Fault("Ray: a node killed", CLUSTER, in_search(2), _lose_node, _add_node, replaced, times=2, around=cluster),
    Fault("Ray: a worker killed", CLUSTER, in_search(2), _kill_worker, holds=replaced, times=2, around=cluster),
    Fault(
        "Ray: a worker stopped past its lease, then continued",
        CLUSTER,
        in_search(3),
        _stop_worker,
        holds=replaced,
        times=3,
        around=cluster,
    ),
)
