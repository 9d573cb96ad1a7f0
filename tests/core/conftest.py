"""What tests of the training core share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from regsearch.regularizers.base import REGISTRY


@pytest.fixture
def own_rules() -> Iterator[None]:
    """Regularizers that a test declares are unknown to the next one."""
    known = dict(REGISTRY)
    yield
    REGISTRY.clear()
    REGISTRY.update(known)
