"""Write the paths of a study relative to its project, and find them again where that was moved."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

from regsearch.system.files import JsonObject

_PROJECT = "{project}"
_PLACES = (("folder",), ("data", "source"), ("search", "storage"), ("tracking", "uri"), ("tracking", "tensorboard"))
_KIND = re.compile(r"(csv:|parquet:|sqlite(?:\+\w+)?:///|)(.*)", re.DOTALL)


def portable(config: JsonObject, home: Path) -> JsonObject:
    """Write a configuration's paths from `{project}`, the folder of `home`: the two may be moved together."""
    return _with_places(config, lambda path: _to_project(path, home))


def placed(config: JsonObject, home: Path) -> JsonObject:
    """Read the configuration that `portable` wrote, with the paths that it has here.

    Earlier versions wrote them as they were then; those that are gone are looked for in the folder of `home`.
    """
    here = _with_places(config, lambda path: _from_project(path, home))
    then = Path(config.get("folder", ""))
    if not then.is_absolute() or then.is_dir():
        return here
    now = _now(then, home.absolute().parent)
    return {**_with_places(here, lambda path: _along(path, then, now, home)), "folder": str(now)}


def _with_places(config: JsonObject, change: Callable[[str], str]) -> JsonObject:
    changed: JsonObject = json.loads(json.dumps(config))
    for *sections, key in _PLACES:
        section = changed
        for name in sections:
            section = section.get(name) or {}
        if isinstance(section.get(key), str):
            kind, path = _KIND.match(section[key]).groups()  # type: ignore[union-attr]  # it matches everything
            section[key] = f"{kind}{change(path)}"
    return changed


def _to_project(path: str, home: Path) -> str:
    place = Path(path)
    for here in (home, home.resolve()):
        project = here.parent
        # What lies above the home goes along too, as far as the home lies in it.
        inside = place.is_relative_to(project) or here.is_relative_to(place)
        if place.is_absolute() and inside and min(len(place.parts), len(project.parts)) > 1:
            return str(Path(_PROJECT, os.path.relpath(place, project)))
    return path


def _from_project(path: str, home: Path) -> str:
    if path == _PROJECT or path.startswith(f"{_PROJECT}/"):
        return os.path.normpath(f"{home.absolute().parent}{path.removeprefix(_PROJECT)}")
    return path


def _now(then: Path, project: Path) -> Path:
    """Where a folder that is gone is in the project: the longest end of its path that is there, else the project."""
    ends = [Path(project, *then.parts[first:]) for first in range(1, len(then.parts))]
    return next((place for place in ends if place.is_dir()), project)


def _along(path: str, then: Path, now: Path, home: Path) -> str:
    """A path that went along when the folder of the study file was moved from `then` to `now`, or the home was."""
    place = Path(path)
    if place.is_relative_to(then):
        return str(now / place.relative_to(then))
    _, mark, rest = path.rpartition(f"/{home.name}/")
    return str(home / rest) if mark and place.is_absolute() and (home / rest).exists() else path
