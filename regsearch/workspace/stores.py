"""Check and empty the stores that a study shares with others: the MLflow store and the database of its search."""

from __future__ import annotations

from pathlib import Path

from regsearch.config import StudyConfig
from regsearch.workspace.folder import StudyRecord, read_record


def check_stores(config: StudyConfig, uri: str, known: StudyRecord | None = None) -> None:
    """Refuse stores that cannot be used for a new study, within seconds; nothing is made.

    Args:
        uri: the MLflow store's address.
        known: the study of this name that the new one replaces.

    Raises:
        UserError: a store that does not answer, refuses user or password, or has a study of this name.
    """
    from regsearch.tracking.mlflow.store import check_free, reach_store

    reach_store(uri, config.name)
    if known is None:
        check_free(uri, config.name)
    if config.search.storage is not None:
        from regsearch.search.schema import check_database

        check_database(config.search.storage, config.name, None if known is None else known.created_ms)


def forget(folder: Path) -> None:
    """Remove the study that `study.json` in this folder tells of from the database of its search, if it has one.

    Raises:
        UserError: the database cannot be used.
    """
    saved = read_record(folder)
    if saved.config.search.storage is not None:
        from regsearch.search.schema import delete_study

        delete_study(saved.config.search.storage, saved.config.name, saved.created_ms)


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
