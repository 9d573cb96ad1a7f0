"""Check that this version reads what a study keeps, before anything of it is touched."""

from __future__ import annotations

from regsearch.errors import UserError
from regsearch.system import schema
from regsearch.tracking.log.outbox import read_from
from regsearch.workspace.folder import StudyFolder
from regsearch.workspace.machine import recorded_machine


def check_forms(folder: StudyFolder) -> None:
    """Refuse to go on with a study of which a newer regsearch wrote a file.

    Raises:
        UserError: names the file and both versions, or a field that no version writes.
    """
    from regsearch.data import Manifest
    from regsearch.search.journal import check_journal

    Manifest.load(folder.data)
    recorded_machine(folder.path)
    check_journal(folder.journal)
    for file, known in (
        (folder.answer, schema.ANSWER),
        (folder.finals / "summary.json", schema.FINALS),
        (folder.finals / "champion" / "manifest.json", schema.MANIFEST),
    ):
        try:
            schema.read_numbered(file, known)
        except UserError:
            raise
        except ValueError:
            pass  # it is damaged, and is written anew
    for _ in read_from(folder.outbox) if folder.outbox.exists() else ():
        pass
