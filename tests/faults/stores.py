"""Eight processes open one store that is not there yet: all of them get it, and it is whole."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.faults.drill import Drill

ROOT = Path(__file__).parents[2]
PROCESSES, ROUNDS = 8, 10


def together(kind: str, folder: Path, addresses: list[str], pick: random.Random) -> list[str]:
    """Have eight processes open each of the addresses at once, forked from one that has imported what they need."""
    command = [sys.executable, "-m", "tests.faults.eight", kind, str(pick.randrange(10**6)), str(PROCESSES), *addresses]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        return [f"exit code {done.returncode}: {done.stderr.strip()[-600:]}"]
    return [line for line in done.stdout.splitlines() if line]


def _mlflow(folder: Path, pick: random.Random) -> list[str]:
    return together("mlflow", folder, [f"sqlite:///{folder / str(k) / 'mlflow.db'}" for k in range(ROUNDS)], pick)


def _journal(folder: Path, pick: random.Random) -> list[str]:
    return together("journal", folder, [str(folder / str(k) / "search.journal") for k in range(ROUNDS)], pick)


def _sqlite(folder: Path, pick: random.Random) -> list[str]:
    return together("database", folder, [f"sqlite:///{folder / f'{k}.db'}" for k in range(ROUNDS)], pick)


def _postgres(folder: Path, pick: random.Random) -> list[str]:
    from tests.servers import create_database, postgres

    with postgres() as server:
        addresses = [create_database(server, f"fresh{k}") for k in range(ROUNDS)]
        return together("database", folder, addresses, pick)


_NAMES: dict[str, Callable[[Path, random.Random], list[str]]] = {
    "MLflow's in SQLite": _mlflow,
    "Optuna's journal": _journal,
    "Optuna's in SQLite": _sqlite,
    "Optuna's in PostgreSQL": _postgres,
}
FAULTS = tuple(
    Drill(f"store: eight processes open a fresh one, {name}", strike, times=ROUNDS) for name, strike in _NAMES.items()
)
