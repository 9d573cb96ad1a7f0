"""Prints what a pyproject.toml asks for, with one of its extras: python requirements.py FILE EXTRA."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def requirements(project: dict[str, Any], extra: str) -> Iterator[str]:
    """The dependencies of a project and of an extra; extras that refer to other extras of the project are followed."""
    yield from project["dependencies"]
    waiting, seen = [extra], set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for requirement in project["optional-dependencies"][name]:
            own = re.fullmatch(rf"{project['name']}\[([\w,-]+)\]", requirement)
            if own:
                waiting.extend(own[1].split(","))
            else:
                yield requirement


if __name__ == "__main__":
    file, extra = sys.argv[1:]
    print("\n".join(requirements(tomllib.loads(Path(file).read_text(encoding="utf-8"))["project"], extra)))
