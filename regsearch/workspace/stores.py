"""The stores of a study that others share, the MLflow store and the database of its search: checked, and emptied."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from regsearch.config import StudyConfig
from regsearch.errors import UserError
from regsearch.system.addresses import password
from regsearch.system.files import write_whole


def check_stores(config: StudyConfig, uri: str, known: dict[str, Any] | None = None) -> None:
    """Refuse stores that cannot be used for a new study, within seconds; nothing is made.

    Args:
        uri: the MLflow store's address.
        known: what `study.json` says of the study of this name that the new one replaces.

    Raises:
        UserError: a store that does not answer, refuses user or password, or has a study of this name.
    """
    from regsearch.tracking.mlflow.store import check_free, reach_store

    reach_store(uri, config.name)
    if known is None:
        check_free(uri, config.name)
    if config.search.storage is not None:
        from regsearch.search.schema import check_database

        check_database(config.search.storage, config.name, None if known is None else known["created_ms"])


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
        return {"config": found["config"], "created_ms": found["created_ms"]}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"not a study's record: {error}", file=file) from None


def write_study(folder: Path, config: StudyConfig, created_ms: int) -> None:
    """Keep what the study is, in place of what was kept before; nobody else may read it where it holds a password."""
    secret = any(password(address or "") for address in (config.tracking.uri, config.search.storage))
    text = json.dumps({"config": json.loads(config.to_json()), "created_ms": created_ms}, indent=1)
    write_whole(folder / "study.json", text, 0o600 if secret else 0o644)


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
