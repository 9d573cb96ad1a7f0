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
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

# Read by ray when it is imported: no word about this use leaves the cluster.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from regsearch.errors import UserError
from regsearch.executors.executor import COHORTS, Executor
from regsearch.executors.local import MEMORY, THREADS, cores
from regsearch.executors.study_bundle import Parcel, pack, unpack
from regsearch.executors.worker import Found, Worker, WorkerSpec, failure
from regsearch.executors.worker_handle import Lost, Member, NoPlace, told

_ANSWERS_WITHIN = 5.0
"""Seconds in which an address must answer."""
_SUSPECT = 5.0
"""Seconds for which a node that lost a worker gets no other: when the node itself is gone, Ray takes some to notice."""
_LOOK_EVERY = 1.0
"""Seconds between looks for nodes that have come."""


class RayExecutor(Executor):
    """Trains lanes on the workers of a cluster.

    Args:
        address: `local` for a cluster of this machine's cores that ends with the executor, `auto` for the one that this
            machine belongs to, else a cluster's address: HOST:PORT, or ray://HOST:PORT for Ray Client.
        config, data, regularizers, lanes, width, compiled, say: as of `LocalExecutor`.
        workers: at most so many; by default one per core, or per GPU.
        device: `cpu`, or `cuda` for the GPUs of the cluster.

    Raises:
        UserError: the address does not answer, or runs other versions, or has no such device; the model or the data is
            refused, or `compiled` is asked for and does not work.
    """

    def __init__(
        self,
        address: str,
        config: str,
        data: str,
        regularizers: tuple[str, ...],
        lanes: int,
        workers: int | None = None,
        width: int | None = None,
        compiled: bool | None = None,
        say: Callable[[str], None] = lambda line: None,
        device: str = "cpu",
    ) -> None:
        self._on_gpu = device != "cpu"
        connect(address, device)
        self._coming: list[_Actor] = []
        self._suspects: dict[str, float] = {}
        self._looked = time.monotonic()
        self._parcel = ray.put(pack(config, Path(data)))
        there = sum(capacities(self._on_gpu).values())
        self._most = min(workers or sys.maxsize, max(1, -(-lanes // COHORTS)))
        try:
            super().__init__(
                WorkerSpec(0, config, data, regularizers, 0, width, compiled, device="cuda" if self._on_gpu else "cpu"),
                lanes,
                min(there, self._most),
                say,
            )
        except BaseException:
            leave()
            raise

    def hire(self, spec: WorkerSpec) -> Member:
        free = self._free()
        if not free:
            raise NoPlace
        return self._start(spec, free[0])

    def newcomers(self) -> list[Member]:
        if time.monotonic() < self._looked + _LOOK_EVERY:
            return []
        self._looked = time.monotonic()
        ready: list[Member] = []
        for actor in list(self._coming):
            if actor.has_said():
                self._coming.remove(actor)
                try:
                    actor.ready()
                except (Lost, UserError):
                    actor.close()
                else:
                    ready.append(actor)
        wanted = self._most - self.workers - len(self._coming) - len(ready)
        for node in self._free()[: max(0, wanted)]:
            spec = replace(self._spec, index=len(self._coming), width=self.width, compiled=self.compiled)
            self._coming.append(self._start(spec, node))
        return ready

    def close(self) -> None:
        for actor in self._coming:
            actor.close()
        super().close()
        leave()

    def _start(self, spec: WorkerSpec, node: str) -> _Actor:
        return _Actor(spec, self._parcel, node, self._on_gpu, self._suspects)

    def _free(self) -> list[str]:
        """The nodes that may have another worker, one entry for each, those with the fewest first."""
        members = [*self._coming, *(post.member for post in self._crew.values())]
        taken = Counter(actor.node for actor in members if isinstance(actor, _Actor) and not actor.closed)
        now = time.monotonic()
        places = [
            (used, node)
            for node, capacity in capacities(self._on_gpu).items()
            for used in range(taken[node], capacity)
            if self._suspects.get(node, 0.0) < now
        ]
        return [node for _, node in sorted(places)]


def capacities(on_gpu: bool) -> dict[str, int]:
    """How many workers each node of the cluster that is alive may have, by its id."""
    kind = "GPU" if on_gpu else "CPU"
    return {node["NodeID"]: int(node["Resources"].get(kind, 0)) for node in _nodes() if node["Alive"]}


def _nodes() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return found


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
    try:
        with _own_signals(), _no_word():
            ray.init(address=address, **({"log_to_driver": False} if address.startswith("ray://") else quiet))
    except (ConnectionError, RuntimeError, RayError, ValueError) as error:
        said = " ".join(str(error).split())
        raise UserError(
            f"the cluster cannot be joined: {said[:300]}", key="--ray", value=address, allowed=_ADDRESSES
        ) from None


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


class _Remote:
    """What runs in the actor. It raises nothing: what went wrong is an answer too."""

    def __init__(self, spec: WorkerSpec, parcel: Parcel) -> None:
        self._given: tuple[WorkerSpec, Parcel] = spec, parcel
        self._worker: Worker | None = None

    def found(self) -> tuple[str, Any]:
        try:
            spec, parcel = self._given
            config, data = unpack(spec.config, parcel)
            self._worker = Worker(replace(spec, config=config, data=str(data)))
        except Exception as error:  # the driver must hear of it, whatever it is
            return failure(error, begun=False)
        return "found", self._worker.found

    def settle_on(self, width: int, compiled: bool) -> None:
        assert self._worker is not None, "it has found out what it needs"
        self._worker.settle_on(width, compiled)

    def obey(self, waited_for: bool, order: str, *given: Any) -> tuple[str, Any]:
        assert self._worker is not None, "it has found out what it needs"
        try:
            return "answer", self._worker.obey(waited_for, order, *given)
        except Exception as error:  # as above
            return failure(error, begun=True)


class _Actor:
    """A worker in an actor of its own."""

    def __init__(self, spec: WorkerSpec, parcel: Any, node: str, on_gpu: bool, suspects: dict[str, float]) -> None:
        self.node, self.closed, self._suspects = node, False, suspects
        strategy = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
        here = {"num_gpus": 1} if on_gpu else {"num_cpus": 1}
        remote: Any = ray.remote(_Remote)
        options = remote.options(
            scheduling_strategy=strategy, max_restarts=0, runtime_env={"env_vars": THREADS | MEMORY}, **here
        )
        self._actor = options.remote(spec, parcel)
        self._found = self._actor.found.remote()
        self._due: deque[Any] = deque()
        self._why: Lost | None = None

    def has_said(self) -> bool:
        """Whether `ready` would not wait."""
        return bool(ray.wait([self._found], timeout=0)[0])

    def ready(self) -> Found:
        found: Found = self._get(self._found, None)
        return found

    def settle_on(self, width: int, compiled: bool) -> None:
        self._actor.settle_on.remote(width, compiled)

    def send(self, waited_for: bool, order: str, *given: Any) -> None:
        self._due.append(self._actor.obey.remote(waited_for, order, *given))

    def receive(self, seconds: float | None = None) -> tuple[str, Any, dict[str, float]]:
        found: tuple[str, Any, dict[str, float]] = self._get(self._due.popleft(), seconds)
        return found

    def _get(self, reference: Any, seconds: float | None) -> Any:
        if self._why is not None:
            raise self._why
        try:
            kind, said = ray.get(reference, timeout=seconds)
        except GetTimeoutError:
            self._gone(Lost(f"gave no answer in {seconds:.0f} seconds"))
        except RayError as error:
            self._suspects[self.node] = time.monotonic() + _SUSPECT
            first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            self._gone(Lost(f"is lost: {first.strip()}", memory="OutOfMemory" in type(error).__name__))
        try:
            return told(kind, said)
        except Lost as lost:
            self._gone(lost)

    def _gone(self, lost: Lost) -> NoReturn:
        self._why = lost
        self.close()
        raise lost

    def close(self) -> None:
        self.closed = True
        with contextlib.suppress(RayError, ValueError):
            ray.kill(self._actor)
