"""The page of a study: the answer first, then what it rests on."""

from __future__ import annotations

from regsearch.pages.answer import answer, care, intervals
from regsearch.pages.background import again, environment, ledger
from regsearch.pages.curves import curves
from regsearch.pages.importance import importance
from regsearch.pages.page import page
from regsearch.pages.record import StudyRecord
from regsearch.pages.trials import front, gaps, settings, table

_SECTIONS = (
    answer, care, intervals, curves, gaps, front, importance, settings, table, ledger, environment, again,
)  # fmt: skip


def study_page(record: StudyRecord) -> str:
    """Render a study as an HTML page; what the record does not have is left out."""
    of = f" of {record.planned:,}" if record.planned else ""
    facts = [f"{len(record.trials):,}{of} trials", f"objective {', '.join(record.objectives)}"]
    facts += [f"begun {record.begun}"] if record.begun else []
    return page(f"Study {record.name}", [section(record) for section in _SECTIONS], ", ".join(facts))
