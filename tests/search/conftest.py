"""One PostgreSQL server for all tests of the search, a fresh database for each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.servers import Server, create_database, postgres

_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with postgres() as found:
        yield found


@pytest.fixture
def uri(server: Server) -> str:
    """The address of an empty database."""
    return create_database(server, f"test{next(_NUMBERS)}")
