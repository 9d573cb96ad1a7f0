"""Write the paths of a study relative to its project, and find them again where that was moved."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

_PROJECT = "{project}"
_PLACES = (("folder",), ("data", "source"), ("search", "storage"), ("tracking", "uri"), ("tracking", "tensorboard"))
_KIND = re.compile(r"(csv:|parquet:|sqlite(?:\+\w+)?:///|)(.*)", re.DOTALL)


def portable(config: dict[str, Any], home: Path) -> dict[str, Any]:
    """The same configuration with `{project}` for the folder of `home` in its paths: the two may be moved together."""
    return _with_places(config, lambda path, is_folder: _to_project(path, home))


def placed(config: dict[str, Any], home: Path) -> dict[str, Any]:
    """The configuration that `portable` wrote, with the paths that it has here.

    Earlier versions wrote them as they were then; such a one that is gone is looked for in the folder of `home`.
    """
    return _with_places(config, lambda path, is_folder: _from_project(path, home, is_folder))


def _with_places(config: dict[str, Any], change: Callable[[str, bool], str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(config))
    for *sections, key in _PLACES:
        section = found
        for name in sections:
            section = section.get(name) or {}
        if isinstance(section.get(key), str):
            kind, path = _KIND.match(section[key]).groups()  # type: ignore[union-attr]  # it matches everything
            section[key] = f"{kind}{change(path, key == 'folder')}"
    return found


def _to_project(path: str, home: Path) -> str:
    place = Path(path)
    for here in (home, home.resolve()):
        project = here.parent
        # What lies above the home goes along too, as far as the home lies in it.
        inside = place.is_relative_to(project) or here.is_relative_to(place)
        if place.is_absolute() and inside and min(len(place.parts), len(project.parts)) > 1:
            return str(Path(_PROJECT, os.path.relpath(place, project)))
    return path


def _from_project(path: str, home: Path, is_folder: bool) -> str:
    project = home.absolute().parent
    if path == _PROJECT or path.startswith(f"{_PROJECT}/"):
        return os.path.normpath(f"{project}{path.removeprefix(_PROJECT)}")
    place, is_there = Path(path), Path.is_dir if is_folder else Path.exists
    if not place.is_absolute() or is_there(place):
        return path
    ends = [place.parts[first:] for first in range(1, len(place.parts))]
    # A store or a table of elsewhere that is away is not another of its name here.
    fitting = [Path(project, *end) for end in ends if is_folder or end[0] == home.name]
    here = next((each for each in fitting if is_there(each)), project if is_folder else place)
    return str(here)
