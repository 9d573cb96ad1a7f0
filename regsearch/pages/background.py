"""The last sections of a study's page: the ledger, data and machine, and how to do it again."""

from __future__ import annotations

from collections.abc import Mapping

from regsearch.pages.parts import Code, Paragraph, Part, Section, Table
from regsearch.pages.plot import short
from regsearch.pages.record import StudyRecord
from regsearch.system.files import JsonMapping

_TIMES = (
    ("start", "starting the workers, compiling"),
    ("search", "search"),
    ("finals", "finals"),
    ("deliver", "delivery to MLflow"),
    ("total", "in all"),
)


def ledger(record: StudyRecord) -> Section:
    """Tabulate who opened the sealed test, when, and for what."""
    title = "Who opened the test"
    if not record.openings:
        known = record.opened or not record.data
        said = "The ledger is kept where the study ran." if known else "Nobody has opened the sealed test rows."
        return Section("ledger", title, [Paragraph(said)])
    rows = [
        (str(each.get("time", "")), str(each.get("study", "")), str(each.get("purpose", "")), _decision(each))
        for each in record.openings
    ]
    note = "Every opening of these test rows, by whatever study; what was decided was written down before."
    if len(rows) != record.opened:
        note += f" They are {record.opened} different decisions: a study that goes on after a kill opens them again."
    header = ("time", "study", "purpose", "decided before")
    return Section("ledger", title, [Table("The ledger of this test split", header, rows, note=note)])


def environment(record: StudyRecord) -> Section:
    """Tabulate the data and the machine, as far as they are known, and where the time went."""
    parts: list[Part] = []
    for caption, facts in (("Data", record.data), ("Machine and versions", record.machine)):
        if facts:
            parts.append(Table(caption, ("", "value"), [(name, value) for name, value in facts.items()]))
    times = [(words, f"{record.timing[name]:.1f} s") for name, words in _TIMES if name in record.timing]
    if rate := record.timing.get("trial_steps_per_second"):
        times.append(("training steps of single trials", f"{rate:,.0f} per second"))
    if times:
        parts.append(Table("Time", ("", "taken"), times))
    return Section("environment", "Data and environment", parts)


def again(record: StudyRecord) -> Section:
    """Show the commands and the study file that reproduce the study."""
    name = record.name
    best = record.winner if record.winner is not None else 0
    commands = [
        f"regsearch study start {name}.yaml",
        f"regsearch trial replay {name} {best}",
        f"regsearch study resume {name}",
    ]
    caption = "The study again from its file; one of its trials, held against the records bit by bit; its answer:"
    parts: list[Part] = [Code(caption, "\n".join(commands))]
    if record.study_file:
        parts.append(Code(f"{name}.yaml in full, with what was left at its default", record.study_file, folded=True))
    return Section("again", "How to reproduce", parts)


def _decision(line: JsonMapping) -> str:
    decision = line.get("decision")
    if not isinstance(decision, Mapping):
        return str(decision or "")
    said = []
    for name, value in decision.items():
        if isinstance(value, Mapping):
            inner = ", ".join(f"{key} {_number(each)}" for key, each in value.items())
            said.append(inner or "every searched regularizer off")
        else:
            said.append(f"{name.replace('_', ' ')} {_number(value)}")
    return "; ".join(said)


def _number(value: object) -> str:
    return short(value) if isinstance(value, float) else str(value)
