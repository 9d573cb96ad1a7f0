"""The environment of a user's shell."""

from __future__ import annotations

import os

from tests.documents import ROOT


def bare() -> dict[str, str]:
    """Give the environment of a shell that sets nothing for the math libraries, as tests/conftest.py does."""
    given = {name: value for name, value in os.environ.items() if not name.startswith(("MKL_", "OMP_"))}
    return given | {"PYTHONPATH": str(ROOT)}
