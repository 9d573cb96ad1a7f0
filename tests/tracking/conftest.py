"""A made store that tests copy, since making one takes over a second."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from regsearch.tracking.mlflow.writer_process import WriterHandle, start_writer

# MLflow's own uses of what its dependencies have deprecated.
THIRD_PARTY = (
    r"ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning",
    r"ignore:.*Any type hint is inferred as AnyType:UserWarning",
    r"ignore:Operation with range is deprecated:DeprecationWarning",
)


def pytest_configure(config: pytest.Config) -> None:
    for line in THIRD_PARTY:
        config.addinivalue_line("filterwarnings", line)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from regsearch.tracking.mlflow.store import ensure_store

    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    ensure_store(f"sqlite:///{path}")
    return path


@pytest.fixture
def uri(template: Path, tmp_path: Path) -> Iterator[str]:
    """The address of an empty store at `tmp_path/mlflow.db`."""
    shutil.copy(template, tmp_path / "mlflow.db")
    yield f"sqlite:///{tmp_path / 'mlflow.db'}"
    # A delivered model makes its store that of the process and of its environment; a later test would obey it.
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
    mlflow.set_registry_uri(None)  # type: ignore[arg-type]
    os.environ.pop("MLFLOW_REGISTRY_URI", None)


class Writers:
    """Starts writers and sees to it that none outlives its test."""

    def __init__(self) -> None:
        self.started: list[WriterHandle] = []

    def __call__(self, outbox: Path, uri: str) -> WriterHandle:
        self.started.append(start_writer(outbox, uri))
        return self.started[-1]


@pytest.fixture
def writers() -> Iterator[Writers]:
    every = Writers()
    yield every
    for handle in every.started:
        handle.kill()
