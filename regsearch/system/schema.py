"""Number the forms of the files that studies leave, and refuse what is not read whole. Standard library only.

A number counts up when a file says something that an earlier regsearch would not read, or would read otherwise. Each
file carries its number under `schema`. One without is of regsearch 0.1.0, whose forms are all number 1; a study file
without is of the present form. Earlier forms are read, later ones refused: who adds a form adds how the one before is
read, and keeps files of it in `tests/fixtures`.

Not numbered: the pages of the ledger (see `regsearch.data.ledger`), what SHA-256 sums alone say, and what a process
says of itself or can make again (`outbox.cursor`, `outbox.status`, saved states of trials, Ray Tune's own files).
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from regsearch.errors import UserError
from regsearch.system.files import JsonMapping

KEY = "schema"
FIRST = 1
"""The form of a file that says none."""

STUDY_FILE = 1
"""The YAML file that a user writes."""
STUDY = 2
"""`study.json`; 2: paths within the project are relative to it."""
LOG = 2
"""`outbox.jsonl`; 2: files within the study's folder stand in it by their place there."""
SEARCH = 1
"""The clock of `search.journal`, or of the database that stands for it."""
ANSWER = 1
"""`answer.json`."""
FINALS = 2
"""`finals/summary.json` and `finals/importance.json`; 2: importance says what moves the loss, too."""
MACHINE = 1
"""`machine.json`."""
MANIFEST = 4
"""`manifest.json` of sealed data, of a packaged champion and of an exported folder, whose `predict.py` has the same
number; 2: numbers are held at bounds or scaled by quantiles, and values of a column are read by what it holds; 3: every
row is in a part or counted as left out; 4: numbers that are written as texts are numbers."""


def check_version(version: object, known: int, file: str | Path | None) -> int:
    """Check the number that a file says of its form.

    Args:
        version: what stands in the file under `schema`; None where nothing does.
        known: the latest form that is read.
        file: named in what is refused.

    Returns:
        The form's number.

    Raises:
        UserError: the form is a later one, or no number.
    """
    if version is None:
        return FIRST
    if not isinstance(version, int) or isinstance(version, bool) or version < FIRST:
        raise UserError(
            "cannot be used", file=file, key=KEY, value=version, allowed=f"allowed are numbers up to {known}"
        )
    if version > known:
        what = f"written by a newer regsearch (schema {version}, this one reads up to {known})"
        raise UserError(what, file=file, allowed="pip install -U regsearch")
    return version


def check_fields(content: JsonMapping, known: Collection[str], file: str | Path | None, within: str = "") -> None:
    """Refuse fields that this version does not know in a file that it would write without them.

    Args:
        content: an object of the file.
        known: the fields that it may have, besides `schema`.
        within: the object's own place in the file, where it is not the whole.

    Raises:
        UserError: names the first such field.
    """
    for name in content:
        if name not in known and name != KEY:
            place = f"{within}.{name}" if within else str(name)
            allowed = f"known are {', '.join(known)}: was the file edited, or copied from a newer regsearch?"
            raise UserError("unknown field", file=file, key=place, allowed=allowed)


def check(content: JsonMapping, latest: int, fields: Collection[str], file: str | Path | None) -> None:
    """Refuse a file of a later form, then one with a field that its form does not have.

    Raises:
        UserError: in one line.
    """
    check_version(content.get(KEY), latest, file)
    check_fields(content, fields, file)
