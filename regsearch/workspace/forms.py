"""Check that this version reads what a study keeps, before anything of it is touched."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from regsearch.config import StudyConfig
from regsearch.errors import UserError
from regsearch.search.clock import check_journal
from regsearch.search.steps import JournalSteps
from regsearch.system import schema
from regsearch.system.documents import FROM_A_COPY, DamagedFile, concluded_anew, damaged, read_object, read_text
from regsearch.system.files import JsonObject
from regsearch.tracking.log.history import StudyHistory
from regsearch.tracking.log.outbox import check_log
from regsearch.trial import TrialState
from regsearch.workspace.folder import StudyFolder, read_saved, study_names
from regsearch.workspace.machine import recorded_machine


def check_versions(folder: StudyFolder) -> None:
    """Refuse to read a study of which a newer regsearch wrote a file, also one that the command does not need: it may
    have found another answer than what is left of the earlier one. What is damaged is left to whoever reads it.

    Whoever deletes a study needs `study.json` alone, and may, whatever else is newer or damaged.

    Raises:
        UserError: names the file and both versions.
    """
    for file, latest in _numbered(folder):
        with contextlib.suppress(DamagedFile):
            read_object(file, latest, FROM_A_COPY)
    for check, file in ((check_journal, folder.journal), (check_log, folder.outbox)):
        with contextlib.suppress(DamagedFile):
            check(file)


def check_forms(folder: StudyFolder) -> None:
    """Refuse to go on with a study of which a newer regsearch wrote a file, or that has lost what it goes on from.

    An answer, a summary and a champion that are damaged are written anew.

    Raises:
        UserError: names the file and both versions, or a field that no version writes.
        DamagedFile: names the file, and what to do.
    """
    from regsearch.data import check_rows

    check_versions(folder)
    check_rows(folder.data)
    recorded_machine(folder.path)
    check_journal(folder.journal)
    read_log(folder)
    for file in (folder.answer, *_concluded(folder)):
        if file.is_dir():  # which would not give way to the file
            read_text(file, concluded_anew(file))


def read_log(folder: StudyFolder) -> StudyHistory:
    """Read the log of a study. One whose search has begun is refused where its log is gone, or lost its beginning or a
    line that a later one builds on. A database of the search would bring it back.

    Raises:
        DamagedFile: names the log, and what to do.
    """
    begun = folder.journal.exists()
    history = StudyHistory.read_whole(folder.outbox, begun)
    if begun and history.start is None:
        raise damaged(folder.outbox, "it is empty")
    return history


def check_search(folder: StudyFolder, config: StudyConfig, created_ms: int) -> None:
    """Refuse to go on with a search that a newer regsearch went on with, or of which something is missing: in its
    database, or in its journal, or in the log of what the journal says was decided.

    Raises:
        UserError: names the file or the database, both versions or what is missing, and what to do.
    """
    search = config.search
    if search.storage is not None:
        from regsearch.search.schema import check_study

        check_study(search.storage, folder.name, created_ms)
        return
    # In this order: a process that works on the study writes the log first.
    steps, history = JournalSteps(folder.journal), read_log(folder)
    if steps.clock is not None and len(steps.clock.lanes) != search.parallel:
        at_once = len(steps.clock.lanes)
        what = f"its last clock has {at_once} trials at once, and search.parallel is {search.parallel}"
        raise damaged(folder.journal, what)
    _check_trials(folder, steps, history, search.objectives[0])


def _check_trials(folder: StudyFolder, steps: JournalSteps, history: StudyHistory, objective: str) -> None:
    """Hold the journal against the log, which was written first; what a population set back is left out."""
    runs = history.trials()
    for number, trial in enumerate(steps.trials):
        run = runs.get(number)
        if run is None:
            if trial.begun:
                raise damaged(folder.outbox, f"trial {number} is missing, which {folder.journal.name} knows")
            continue
        if run.stages:
            continue
        if lost := trial.epochs - run.curve.keys():
            raise damaged(folder.outbox, f"epoch {min(lost)} of trial {number} is missing")
        if trial.ended and run.ended_ms is None:
            raise damaged(folder.outbox, f"the end of trial {number} is missing")
        measured = {epoch for epoch, metrics in run.curve.items() if objective in metrics}
        if trial.ended and not steps.several and run.state != TrialState.FAIL and (lost := measured - trial.epochs):
            raise damaged(folder.journal, f"epoch {min(lost)} of trial {number} is missing")


def list_studies(root: Path, refused: Callable[[UserError], None] | None = None) -> list[JsonObject]:
    """List every study begun here: name, when it began, whether it has its answer, its trials and source of data.

    Args:
        refused: is told of each whose record is damaged, or of which a newer regsearch wrote a file, and the others are
            listed; None refuses them all.

    Raises:
        UserError: one cannot be listed, and nobody is told.
    """
    rows = []
    for folder in (StudyFolder(root, name) for name in study_names(root)):
        try:
            saved = read_saved(folder.path)
            check_versions(folder)
        except UserError as error:
            if refused is None:
                raise
            refused(error)
        else:
            rows.append(_row(folder, saved))
    return rows


def _row(folder: StudyFolder, saved: JsonObject) -> JsonObject:
    config = saved["config"]
    return {
        "name": config["name"],
        "created_ms": saved["created_ms"],
        "finished": folder.answer.exists(),
        "trials": config["search"]["trials"],
        "source": config["data"]["source"],
    }


def _numbered(folder: StudyFolder) -> Iterator[tuple[Path, int]]:
    yield folder.data / "manifest.json", schema.MANIFEST
    yield folder.path / "machine.json", schema.MACHINE
    yield folder.answer, schema.ANSWER
    for file in _concluded(folder):
        yield file, schema.FINALS
    yield folder.finals / "champion" / "manifest.json", schema.MANIFEST


def _concluded(folder: StudyFolder) -> list[Path]:
    return [folder.finals / name for name in ("summary.json", "importance.json", "front.json")]
