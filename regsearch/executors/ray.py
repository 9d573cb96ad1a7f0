"""Packs on a Ray cluster: one worker, an actor, per core or GPU of every node that is there, and of those that come."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

# Read by ray when it is imported: no word about this use leaves the cluster.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from regsearch.errors import UserError
from regsearch.executors.executor import Executor, ExecutorSettings
from regsearch.executors.local import THREADS, cores
from regsearch.executors.messages import Calibrated, Failure, Reply, Request, WorkerSpec
from regsearch.executors.study_bundle import StudyBundle, bundle_study, unpack_study
from regsearch.executors.worker import Worker, WorkerServer
from regsearch.executors.worker_handle import NoDevice, T, WorkerHandle, WorkerLost, raise_failure
from regsearch.system.forking import MEMORY

_ANSWERS_WITHIN = 5.0
"""Seconds in which an address must answer."""
_SUSPECT = 5.0
"""Seconds for which a node that lost a worker gets no other: when the node itself is gone, Ray takes some to notice."""
_LOOK_EVERY = 1.0
"""Seconds between looks for nodes that have come."""


class RayExecutor(Executor):
    """Train lanes on the workers of a cluster; see `regsearch.executors.executor.Executor`.

    Args:
        address: `local` for a cluster of this machine's cores that ends with the executor, `auto` for the one that this
            machine belongs to, else a cluster's address: HOST:PORT, or ray://HOST:PORT for Ray Client.
        settings: with a device `cpu`, or `cuda` for the GPUs of the cluster.

    Raises:
        UserError: the address does not answer, or runs other versions, or has no such device; or as of `Executor`.
    """

    def __init__(
        self, address: str, settings: ExecutorSettings, say: Callable[[str], None] = lambda line: None
    ) -> None:
        on_gpu = settings.device != "cpu"
        connect(address, settings.device)
        try:
            host = RayHost(bundle_study(settings.config, Path(settings.data)), on_gpu)
            super().__init__(replace(settings, device="cuda" if on_gpu else "cpu"), host, say)
        except BaseException:
            leave()
            raise


class RayHost:
    """Start workers as actors on the cluster that this process has joined, one for each core or GPU of every node.

    Args:
        bundle: what they need of the study.
        on_gpu: whether they are on GPUs.
    """

    def __init__(self, bundle: StudyBundle, on_gpu: bool) -> None:
        self._bundle, self._on_gpu = ray.put(bundle), on_gpu
        self._open: list[RayWorker] = []
        self._coming: list[RayWorker] = []
        self._suspects: dict[str, float] = {}
        self._looked = time.monotonic()

    def room(self, wanted: int | None) -> int:
        """Count the cores or GPUs of the cluster, of those that are wanted."""
        return min(wanted or sys.maxsize, sum(capacities(self._on_gpu).values()))

    def memory(self) -> int | None:
        """Return None: memory is measured on each node."""
        return None

    def start(self, spec: WorkerSpec) -> RayWorker:
        """Start a worker on a node that has the fewest."""
        free = self._free()
        if not free:
            raise NoDevice
        return self._start_on(free[0], spec)

    def arrivals(self, spec: WorkerSpec, wanted: int) -> list[WorkerHandle]:
        """Return the workers that were started on nodes that have come; nodes are looked for every second."""
        if time.monotonic() < self._looked + _LOOK_EVERY:
            return []
        self._looked = time.monotonic()
        ready: list[WorkerHandle] = []
        for worker in [worker for worker in self._coming if worker.has_replied()]:
            self._coming.remove(worker)
            try:
                worker.ready()
            except (WorkerLost, UserError):
                worker.close()
            else:
                ready.append(worker)
        for node in self._free()[: max(0, wanted - len(self._coming) - len(ready))]:
            self._coming.append(self._start_on(node, replace(spec, index=len(self._coming))))
        return ready

    def close(self, handles: Iterable[WorkerHandle]) -> None:
        """End these workers and those that are coming, and leave the cluster."""
        for worker in (*self._coming, *handles):
            worker.close()
        leave()

    def _start_on(self, node: str, spec: WorkerSpec) -> RayWorker:
        worker = RayWorker(spec, self._bundle, node, self._on_gpu, self._suspects)
        self._open = [*(each for each in self._open if not each.closed), worker]
        return worker

    def _free(self) -> list[str]:
        """Return the nodes that may have another worker, one entry for each, those with the fewest first."""
        taken = Counter(worker.node for worker in self._open if not worker.closed)
        now = time.monotonic()
        places = [
            (used, node)
            for node, capacity in capacities(self._on_gpu).items()
            for used in range(taken[node], capacity)
            if self._suspects.get(node, 0.0) < now
        ]
        return [node for _, node in sorted(places)]


def capacities(on_gpu: bool) -> dict[str, int]:
    """Count the workers that each node of the cluster that is alive may have, by its id."""
    kind = "GPU" if on_gpu else "CPU"
    return {node["NodeID"]: int(node["Resources"].get(kind, 0)) for node in _nodes() if node["Alive"]}


def _nodes() -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return nodes


_joined = False
"""Whether this process is in a cluster by `connect`, and not by whoever called it."""


def connect(address: str, device: str) -> None:
    """Join the cluster at an address, if this process is in none yet.

    Raises:
        UserError: it does not answer, or runs other versions of Ray or Python, or has no such device.
    """
    global _joined
    if not ray.is_initialized():
        _join(address)
        _joined = True
    on_gpu = device != "cpu"
    if not any(capacities(on_gpu).values()):
        leave()
        what = "GPU" if on_gpu else "CPU"
        raise UserError(f"the cluster has no {what}", key="--ray", value=address, allowed="add a node that has one")


def leave() -> None:
    """Leave the cluster that `connect` joined."""
    global _joined
    if _joined:
        ray.shutdown()
        _joined = False


def _join(address: str) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    logging.getLogger("ray").setLevel(logging.ERROR)
    if address == "local":
        with _own_signals():
            ray.init("local", num_cpus=cores(), include_dashboard=False, object_store_memory=1 << 28, **quiet)
        return
    if address != "auto":
        _refuse_silent(address)
    client = address.startswith("ray://")
    try:
        with _own_signals(), _no_word():
            _ask(lambda: ray.init(address=address, **({"log_to_driver": False} if client else quiet)))
    except (ConnectionError, RuntimeError, RayError, ValueError) as error:
        said = " ".join(str(error).split())
        raise UserError(
            f"the cluster cannot be joined: {said[:300]}", key="--ray", value=address, allowed=_ADDRESSES
        ) from None


def _ask(join: Callable[[], object]) -> None:
    """Join, up to three times: now and then the server of a client dies while the cluster forks it, see ray#63202."""
    for _ in range(2):
        try:
            join()
        except ConnectionError as error:
            if "Starting Ray client server failed" not in str(error):
                raise
        else:
            return
    join()


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Keep this process's answers to signals: Ray's own to SIGTERM ends it at once, with its round half done."""
    here = threading.current_thread() is threading.main_thread()
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)} if here else {}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextlib.contextmanager
def _no_word() -> Iterator[None]:
    """Without what Ray logs for information: joining as a client it sets up its loggers anew."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)


_ADDRESSES = "allowed are auto, local, HOST:PORT and ray://HOST:PORT of a cluster of the same Ray and Python"


def _refuse_silent(address: str) -> None:
    """Refuse an address where no cluster answers: Ray itself tries for two minutes."""
    import grpc

    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise UserError("this is no address of a cluster", key="--ray", value=address, allowed=_ADDRESSES)
    if os.environ.get("RAY_USE_TLS", "0") != "0":
        return
    with grpc.insecure_channel(f"{host}:{port}") as channel:
        try:
            grpc.channel_ready_future(channel).result(_ANSWERS_WITHIN)
        except grpc.FutureTimeoutError:
            what = f"no cluster answers there within {_ANSWERS_WITHIN:.0f} seconds"
            raise UserError(what, key="--ray", value=address, allowed=_ADDRESSES) from None


class PackActor:
    """Serve the requests of an executor in an actor; see `regsearch.executors.worker.WorkerServer`."""

    def __init__(self, spec: WorkerSpec, bundle: StudyBundle) -> None:
        def build() -> Worker:
            config, data = unpack_study(spec.config, bundle)
            return Worker(replace(spec, config=config, data=str(data)))

        self._server = WorkerServer(build)

    def start(self) -> Calibrated | Failure:
        """Build the worker."""
        return self._server.start()

    def reply(self, request: Request) -> Reply | Failure:
        """Carry out a request."""
        return self._server.reply(request)


class RayWorker:
    """Reach a worker in an actor of its own.

    Attributes:
        node: the id of the node that it is on.
        closed: whether it was ended.
    """

    def __init__(
        self, spec: WorkerSpec, bundle: ray.ObjectRef[StudyBundle], node: str, on_gpu: bool, suspects: dict[str, float]
    ) -> None:
        self.node, self.closed, self._suspects = node, False, suspects
        strategy = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
        here = {"num_gpus": 1} if on_gpu else {"num_cpus": 1}
        actor: Any = ray.remote(PackActor)
        options = actor.options(
            scheduling_strategy=strategy, max_restarts=0, runtime_env={"env_vars": THREADS | MEMORY}, **here
        )
        self._actor = options.remote(spec, bundle)
        self._calibrated: ray.ObjectRef[Calibrated | Failure] = self._actor.start.remote()
        self._due: deque[ray.ObjectRef[Reply | Failure]] = deque()
        self._loss: WorkerLost | None = None

    def has_replied(self) -> bool:
        """Return whether `ready` would not wait."""
        return bool(ray.wait([self._calibrated], timeout=0)[0])

    def ready(self) -> Calibrated:
        """Wait until the worker has measured what was to be measured."""
        return self._get(self._calibrated, None)

    def send(self, request: Request) -> None:
        """Call the actor with a request."""
        self._due.append(self._actor.reply.remote(request))

    def receive(self, seconds: float | None = None) -> Reply:
        """Wait for the next reply; without one in time the actor is killed."""
        return self._get(self._due.popleft(), seconds)

    def _get(self, reference: ray.ObjectRef[T | Failure], seconds: float | None) -> T:
        if self._loss is not None:
            raise self._loss
        try:
            return raise_failure(ray.get(reference, timeout=seconds))
        except GetTimeoutError:
            loss = WorkerLost(f"gave no answer in {seconds:.0f} seconds")
        except RayError as error:
            self._suspects[self.node] = time.monotonic() + _SUSPECT
            first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            loss = WorkerLost(f"is lost: {first.strip()}", memory="OutOfMemory" in type(error).__name__)
        except WorkerLost as lost:
            loss = lost
        self._loss = loss
        self.close()
        raise loss

    def close(self) -> None:
        """Kill the actor, once: a call to Ray after the cluster was left would start another cluster."""
        if self.closed:
            return
        self.closed = True
        with contextlib.suppress(RayError, ValueError):
            ray.kill(self._actor)
