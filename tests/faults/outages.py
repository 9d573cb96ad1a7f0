"""Servers go away and come back, or lose their answers: studies go on, and everything arrives once."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.fault import Fault, Scene, Surroundings, Undisturbed, between, said, within
from tests.faults.invariant import Ended
from tests.faults.proxy import dropping
from tests.faults.setups import DATABASE, WHOLE
from tests.servers import Server, create_database, mlflow_server, postgres

STUDIES = 3
"""How many are under way when a server goes away."""
DROPPED = 0.1
"""The share of the answers that the proxy loses."""


def _on(server: Server, store: str | None = None, uri: str | None = None) -> Surroundings:
    database = store or f"sqlite:///{server.folder / 'mlflow.db'}"
    return Surroundings(
        {"MLFLOW_TRACKING_URI": uri or server.uri}, database=lambda: database, artifacts=server.folder / "artifacts"
    )


@contextmanager
def tracking(folder: Path) -> Iterator[Surroundings]:
    """An MLflow server."""
    with mlflow_server() as server:
        around = _on(server)
        around.parts["server"] = server
        yield around


@contextmanager
def unsure_tracking(folder: Path) -> Iterator[Surroundings]:
    """An MLflow server that loses answers."""
    with mlflow_server() as server, dropping(server.uri, DROPPED, random.Random(str(folder.name))) as proxy:
        around = _on(server, uri=proxy.uri)
        around.parts["proxy"] = proxy
        yield around


@contextmanager
def databases(folder: Path) -> Iterator[Surroundings]:
    """A PostgreSQL server that has Optuna's studies and is what an MLflow server keeps its runs in."""
    with postgres() as server:
        store = create_database(server, "mlflow")
        with mlflow_server(store) as front:
            around = _on(front, store)
            around.search = server.uri
            around.parts["server"] = server
            yield around


def _away(seconds: float) -> Callable[[Scene], bool]:
    def strike(scene: Scene) -> bool:
        server: Server = scene.around.parts["server"]
        server.stop()
        time.sleep(seconds)
        for patience in range(4):
            try:
                server.start()
                return True
            except RuntimeError:  # on a machine that is too busy it may be late
                if patience == 3:
                    raise
        return False

    return strike


def _all_answers(scene: Scene) -> int:
    """Lose answers until the study has ended."""
    proxy = scene.around.parts["proxy"]
    while scene.finish() == 2 and len(scene.commands) < 6:
        scene.begin()
    return int(proxy.dropped)


def patient(scene: Scene, ended: Ended, peace: Undisturbed) -> list[str]:
    """What stopped before everything was delivered said so in a line, and only for want of the store."""
    lines = [command.lines[-1] for command in scene.commands if command.code == 2]
    wrong = [line for line in lines if "did not take everything" not in line]
    return [f"it ended with {line}" for line in wrong]


def undelayed(scene: Scene, ended: Ended, peace: Undisturbed) -> list[str]:
    """The process under way waited for the database, and went on."""
    return patient(scene, ended, peace) + ([] if ended.answer["best"] else ["there is no answer"])


_any_time = within(said("starting"), between("starting", "end"))


def _tracking_away(seconds: float) -> Fault:
    return Fault(
        f"MLflow server: away for {seconds:.0f} s",
        WHOLE,
        _any_time,
        _away(seconds),
        holds=patient,
        codes=(2,),
        around=tracking,
        studies=STUDIES,
    )


FAULTS = (
    _tracking_away(10),
    _tracking_away(60),
    Fault(
        f"MLflow server: {DROPPED:.0%} of its answers lost",
        WHOLE,
        lambda scene: True,
        _all_answers,
        holds=patient,
        codes=(2,),
        around=unsure_tracking,
        worth=5,
    ),
    Fault(
        "PostgreSQL: stopped hard and restarted",
        DATABASE,
        within(said("search"), between("search", "end")),
        _away(3),
        holds=undelayed,
        codes=(2,),
        around=databases,
        studies=STUDIES,
    ),
)
