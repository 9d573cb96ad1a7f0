"""The stores of a study that others share, the MLflow store and the database of its search: checked, and emptied."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regsearch.addresses import password
from regsearch.config import StudyConfig
from regsearch.errors import UserError
from regsearch.files import write_whole

if TYPE_CHECKING:
    from regsearch.display import Progress

_PROJECT = "{project}"
_PLACES = (("folder",), ("data", "source"), ("search", "storage"), ("tracking", "uri"), ("tracking", "tensorboard"))
_KIND = re.compile(r"(csv:|parquet:|sqlite(?:\+\w+)?:///|)(.*)", re.DOTALL)


def check_stores(config: StudyConfig, uri: str, known: dict[str, Any] | None = None) -> None:
    """Refuse stores that cannot be used for a new study, within seconds; nothing is made.

    Args:
        uri: the MLflow store's address.
        known: what `study.json` says of the study of this name that the new one replaces.

    Raises:
        UserError: a store that does not answer, refuses user or password, or has a study of this name.
    """
    from regsearch.tracking.store import check_free, reach_store

    reach_store(uri, config.name)
    if known is None:
        check_free(uri, config.name)
    if config.search.storage is not None:
        from regsearch.search.schema import check_database

        check_database(config.search.storage, config.name, None if known is None else known["created_ms"])


def keep_store(folder: Path, uri: str, progress: Progress | None, *, needed: bool) -> None:
    """Have the MLflow store hold what the outbox of a study at rest says; what it lost is restored or written anew.

    Args:
        folder: of the study.
        progress: is told what the store had lost.
        needed: refuse a store that is away; else `progress` is told.

    Raises:
        UserError: the store cannot take the study.
    """
    from regsearch.tracking.client import DRAIN_SECONDS, bring_up_to_date
    from regsearch.tracking.store import reach_store

    say = progress.say if progress else lambda line: None
    outbox = folder / "outbox.jsonl"
    if not outbox.exists():
        return
    try:
        reach_store(uri, folder.name)
    except UserError as error:
        if needed:
            raise
        say(str(error))
        return
    try:
        bring_up_to_date(outbox, uri, say, DRAIN_SECONDS)
    except OSError:  # the writer's files cannot be written, on a disk that is for reading only
        if needed:
            raise


def refuse_lost(folder: Path, runs: Collection[tuple[str, int]]) -> None:
    """Refuse what an MLflow store lost of the study in this folder, and name the command that mends it.

    Args:
        runs: kind and number of those that the store has, `("study", 0)` for the parent run.

    Raises:
        UserError: it was given others too.
    """
    from regsearch.tracking.delivered import lacks_runs

    if lost := lacks_runs(folder / "outbox.jsonl", runs):
        what = f"the MLflow store lost {lost} of this study's runs"
        raise UserError(what, key="NAME", value=folder.name, allowed=written_anew(folder.name))


def written_anew(name: str) -> str:
    """Say what writes anew what a store lost of a study."""
    return f"`regsearch study resume {name}` writes them anew from the study's log"


def forget(folder: Path) -> None:
    """Remove the study that `study.json` in this folder tells of from the database of its search, if it has one.

    Raises:
        UserError: the database cannot be used.
    """
    saved = read_study(folder)
    address = saved["config"]["search"].get("storage")
    if address is not None:
        from regsearch.search.schema import delete_study

        delete_study(address, saved["config"]["name"], saved["created_ms"])


def read_study(folder: Path) -> dict[str, Any]:
    """What `study.json` says: `config` and `created_ms`.

    Raises:
        UserError: it is not what `write_study` wrote.
    """
    file = folder / "study.json"
    try:
        found: dict[str, Any] = json.loads(file.read_text())
        return {"config": placed(found["config"], folder.parents[1]), "created_ms": found["created_ms"]}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"not a study's record: {error}", file=file) from None


def write_study(folder: Path, config: StudyConfig, created_ms: int) -> None:
    """Keep what the study is, in place of what was kept before; nobody else may read it where it holds a password."""
    secret = any(password(address or "") for address in (config.tracking.uri, config.search.storage))
    known = portable(json.loads(config.to_json()), folder.absolute().parents[1])
    text = json.dumps({"config": known, "created_ms": created_ms}, indent=1)
    write_whole(folder / "study.json", text, 0o600 if secret else 0o644)


def portable(config: dict[str, Any], home: Path) -> dict[str, Any]:
    """Write a configuration's paths from `{project}`, the folder of `home`: the two may be moved together."""
    return _with_places(config, lambda path: _to_project(path, home))


def placed(config: dict[str, Any], home: Path) -> dict[str, Any]:
    """Read the configuration that `portable` wrote, with the paths that it has here.

    Earlier versions wrote them as they were then; those that are gone are looked for in the folder of `home`.
    """
    here = _with_places(config, lambda path: _from_project(path, home))
    then = Path(config.get("folder", ""))
    if not then.is_absolute() or then.is_dir():
        return here
    now = _now(then, home.absolute().parent)
    return {**_with_places(here, lambda path: _along(path, then, now, home)), "folder": str(now)}


def _with_places(config: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    changed: dict[str, Any] = json.loads(json.dumps(config))
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


def at_store(config: StudyConfig, uri: str | None) -> StudyConfig:
    """The same study with its MLflow store named, where its file names none: a resume must not go to another one."""
    if config.tracking.uri is not None or not uri:
        return config
    return config.model_copy(update={"tracking": config.tracking.model_copy(update={"uri": uri})})


def without_addresses(config: StudyConfig) -> StudyConfig:
    """The same study without its stores: what workers get, on other machines too."""
    tracking = config.tracking.model_copy(update={"uri": None})
    search = config.search.model_copy(update={"storage": None})
    return config.model_copy(update={"tracking": tracking, "search": search})
