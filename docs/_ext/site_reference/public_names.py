"""Which public names the reference lacks: the packages that users import say theirs in `__all__`."""

from __future__ import annotations

import importlib
from collections.abc import Container, Iterator

FACES = ("regsearch", "regsearch.regularizers", "regsearch.testing")
"""The packages whose names are promised to users; all others may change between any two versions."""


def public_names() -> Iterator[str]:
    """Give every public name in full, by the package that users import it from."""
    for face in FACES:
        yield from (f"{face}.{name}" for name in importlib.import_module(face).__all__)


def undocumented(documented: Container[str]) -> list[str]:
    """List the public names that are not among those documented."""
    return [name for name in public_names() if name not in documented]
