"""Check and empty the stores that a study shares with others: the MLflow store and the database of its search."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from regsearch.config import StudyConfig
from regsearch.errors import UserError
from regsearch.workspace.folder import StudyFolder, StudyRecord, read_record


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


def keep_store(folder: StudyFolder, uri: str, say: Callable[[str], None], *, needed: bool) -> None:
    """Bring the MLflow store up to the outbox of a study at rest; what it lost is restored or written anew.

    Args:
        say: is told what the store had lost.
        needed: refuse a store that is away; else `say` is told.

    Raises:
        UserError: the store cannot take the study.
    """
    from regsearch.tracking.mlflow.store import reach_store
    from regsearch.tracking.mlflow.writer_process import DRAIN_SECONDS, bring_up_to_date

    if not folder.outbox.exists():
        return
    try:
        reach_store(uri, folder.name)
    except UserError as error:
        if needed:
            raise
        say(str(error))
        return
    try:
        bring_up_to_date(folder.outbox, uri, say, DRAIN_SECONDS)
    except OSError:  # the writer's files cannot be written, on a disk that is for reading only
        if needed:
            raise


def refuse_lost(folder: StudyFolder, runs: Collection[tuple[str, int]]) -> None:
    """Refuse what an MLflow store lost of a study, and name the command that mends it.

    Args:
        runs: kind and number of those that the store has, `("study", 0)` for the parent run.

    Raises:
        UserError: it was given others too.
    """
    from regsearch.tracking.mlflow.delivered import lacks_runs

    if lost := lacks_runs(folder.outbox, runs):
        what = f"the MLflow store lost {lost} of this study's runs"
        raise UserError(what, key="NAME", value=folder.name, allowed=written_anew(folder.name))


def written_anew(name: str) -> str:
    """Say what writes anew what a store lost of a study."""
    return f"`regsearch study resume {name}` writes them anew from the study's log"


def check_forgotten(folder: Path) -> None:
    """Refuse a database that `forget` could not use.

    Raises:
        UserError: it does not answer, or another version of Optuna made its tables.
    """
    storage = read_record(folder).config.search.storage
    if storage is not None:
        from regsearch.search.schema import reach_tables

        reach_tables(storage)


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
    """Copy the study with its MLflow store named, where its file names none: a resume must not go to another one."""
    if config.tracking.uri is not None or not uri:
        return config
    return config.model_copy(update={"tracking": config.tracking.model_copy(update={"uri": uri})})


def without_addresses(config: StudyConfig) -> StudyConfig:
    """Copy the study without its stores: what workers get, on other machines too."""
    tracking = config.tracking.model_copy(update={"uri": None})
    search = config.search.model_copy(update={"storage": None})
    return config.model_copy(update={"tracking": tracking, "search": search})
