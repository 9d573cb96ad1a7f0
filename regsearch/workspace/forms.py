"""Check that this version reads what a study keeps, before anything of it is touched."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from regsearch.search.clock import check_journal
from regsearch.system import schema
from regsearch.system.documents import FROM_A_COPY, DamagedFile, concluded_anew, read_object, read_text
from regsearch.tracking.log.outbox import check_log, read_from
from regsearch.tracking.log.records import StudyStart
from regsearch.workspace.folder import StudyFolder
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
    require_log(folder)
    for _ in read_from(folder.outbox) if folder.outbox.exists() else ():
        pass
    for file in (folder.answer, *_concluded(folder)):
        if file.is_dir():  # which would not give way to the file
            read_text(file, concluded_anew(file))


def require_log(folder: StudyFolder) -> None:
    """Refuse a study whose search has begun and whose log is gone, or lost its beginning. A database of the search
    would bring it back.

    Raises:
        DamagedFile: names the log, and what to do.
    """
    if not folder.journal.exists():
        return
    first = next(read_from(folder.outbox), None)
    if first is None or not isinstance(first[0], StudyStart):
        what = "is damaged: it is empty" if first is None else "is damaged: it does not begin with the study's start"
        raise DamagedFile(what, file=folder.outbox, allowed=FROM_A_COPY)


def _numbered(folder: StudyFolder) -> Iterator[tuple[Path, int]]:
    yield folder.data / "manifest.json", schema.MANIFEST
    yield folder.path / "machine.json", schema.MACHINE
    yield folder.answer, schema.ANSWER
    for file in _concluded(folder):
        yield file, schema.FINALS
    yield folder.finals / "champion" / "manifest.json", schema.MANIFEST


def _concluded(folder: StudyFolder) -> list[Path]:
    return [folder.finals / name for name in ("summary.json", "importance.json", "front.json")]
