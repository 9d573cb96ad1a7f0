"""An empty store, writers that end with their test, and the warnings of third parties."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from regsearch.tracking.mlflow.writer_process import WriterHandle, start_writer
from tests.made_store import empty_store, made_store

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
def template() -> Path:
    """The file of an empty store, to be copied."""
    return empty_store()


@pytest.fixture
def uri(tmp_path: Path) -> Iterator[str]:
    """The address of an empty store at `tmp_path/mlflow.db`."""
    made_store(tmp_path)
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
