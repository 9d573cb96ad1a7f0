"""A line that is missing in the middle of a log or of a journal is noticed by what builds on it, in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from regsearch.search.clock import CLOCK, PARAMS
from regsearch.search.journal import JournalFile
from regsearch.search.steps import JournalSteps
from regsearch.system.documents import FROM_A_COPY, DamagedFile
from regsearch.workspace.folder import StudyFolder
from regsearch.workspace.forms import check_search, read_log
from tests.fixtures import lay
from tests.study.refusals import refusal, regsearch

GOING_ON = ("study resume small", "study finalize small")
READING = ("study show small", "study report small --out page.html", "study importance small", "trial replay small 1")
Line = Callable[[dict[str, Any]], bool]


def of(**values: object) -> Line:
    """The line with these values."""
    return lambda line: all(line.get(name) == value for name, value in values.items())


def lose(file: Path, which: Line) -> int:
    """Remove the first such line; the number that it had."""
    lines = file.read_bytes().splitlines(keepends=True)
    place = next(place for place, line in enumerate(lines) if which(json.loads(line)))
    file.write_bytes(b"".join(lines[:place] + lines[place + 1 :]))
    return place + 1


LOG: dict[str, tuple[Line, str]] = {
    "an epoch": (of(type="metrics", number=3, epoch=1), "line 28 needs epoch 1 of trial 3 before it"),
    "a start": (of(type="run_start", number=1), "line 11 needs the start of trial 1 before it"),
    "the first": (of(type="study_start"), "it does not begin with the study's start"),
}


@pytest.mark.parametrize("how", LOG)
def test_a_line_of_the_log_that_a_later_one_builds_on(root: Path, how: str) -> None:
    file = lay("0.1.0", "plain-killed", root) / "outbox.jsonl"
    which, what = LOG[how]
    lose(file, which)
    for words in (*GOING_ON, *READING):
        line = refusal(words)
        assert line.startswith(f"{file}: is damaged: {what}") and line.endswith(f"; {FROM_A_COPY}"), line


def test_the_end_of_a_final(root: Path) -> None:
    file = lay("0.1.0", "plain-finished", root) / "outbox.jsonl"
    number = lose(file, of(type="run_end", kind="final", number=4))
    line = refusal("study finalize small")
    assert line.startswith(f"{file}: is damaged: line {number} needs the end of final 4 before it")


BY_THE_JOURNAL: dict[str, tuple[Line, str]] = {
    "the last epoch": (of(type="metrics", number=2, epoch=1), "epoch 1 of trial 2 is missing"),
    "an end": (of(type="run_end", number=4), "the end of trial 4 is missing"),
    "the start of one of no epoch": (
        of(type="run_start", number=15),
        "trial 15 is missing, which search.journal knows",
    ),
}


@pytest.mark.parametrize("how", BY_THE_JOURNAL)
def test_a_line_of_the_log_that_the_journal_knows_of(root: Path, how: str) -> None:
    file = lay("0.1.0", "plain-killed", root) / "outbox.jsonl"
    which, what = BY_THE_JOURNAL[how]
    lose(file, which)
    for words in GOING_ON:
        assert refusal(words) == f"{file}: is damaged: {what}; {FROM_A_COPY}"


def has(name: str, operation: int, **values: object) -> Line:
    return lambda line: line["op_code"] == operation and name in line.get("user_attr", ()) and of(**values)(line)


JOURNAL: dict[str, tuple[Line, str]] = {
    "the first": (of(op_code=0), "line 1 needs the study's start before it"),
    "a trial": (of(op_code=4), "line 2 needs the start of trial 0 before it"),
    "a setting": (has(PARAMS, 8, trial_id=3), " needs the setting of trial 3 before it"),
    "an epoch": (of(op_code=7, trial_id=0, step=1), "epoch 1 of trial 0 is missing"),
    "the last epoch of one under way": (of(op_code=7, trial_id=0, step=2), "epoch 2 of trial 0 is missing"),
    "the last epoch of one that ended": (of(op_code=7, trial_id=2, step=1), "epoch 1 of trial 2 is missing"),
    "an end": (of(op_code=6, trial_id=2), "the end of trial 2 is missing"),
    "a turn": (lambda line: line.get("user_attr", {}).get(CLOCK, {}).get("turn") == 2, " needs turn 2 before it"),
}


@pytest.mark.parametrize("how", JOURNAL)
def test_a_line_of_the_journal(root: Path, how: str) -> None:
    """Optuna itself leaves out a step of a trial that it does not know, and numbers the others otherwise."""
    file = lay("0.1.0", "plain-killed", root) / "search.journal"
    which, what = JOURNAL[how]
    lose(file, which)
    for words in GOING_ON:
        line = refusal(words)
        assert line.startswith(f"{file}: is damaged: ") and what in line and line.endswith(f"; {FROM_A_COPY}"), line


@pytest.mark.parametrize("kind", ["a trial that Tune had begun", "a trial"])
def test_a_line_of_the_journal_of_ray_tune(root: Path, kind: str) -> None:
    file = lay("0.1.0", "tune-killed", root) / "search.journal"
    lose(file, of(op_code=6, state=0, trial_id=3) if "Tune" in kind else of(op_code=4))
    line = refusal("study resume small")
    assert line.startswith(f"{file}: is damaged: line ") and "needs the start of trial " in line


def altered(file: Path, which: Line, **values: object) -> None:
    lines = [json.loads(line) for line in file.read_bytes().splitlines()]
    next(line for line in lines if which(line)).update(values)
    file.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))


@pytest.mark.parametrize(
    ("which", "values"),
    [
        (of(op_code=7), {"trial_id": "0"}),
        (of(op_code=7), {"op_code": 70}),
        (of(op_code=7), {"step": None}),
        (of(op_code=6), {"state": []}),
        (of(op_code=8), {"user_attr": 3}),
        (of(op_code=0), {"directions": 1}),
        (of(op_code=2), {"user_attr": {CLOCK: 3}}),
        (of(op_code=2), {"user_attr": {CLOCK: {"turn": "0"}}}),
        (of(op_code=2), {"user_attr": {CLOCK: {"turn": 0, "lanes": 3, "next": 0, "waiting": []}}}),
    ],
)
def test_a_line_of_the_journal_that_is_none(root: Path, which: Line, values: dict[str, object]) -> None:
    file = lay("0.1.0", "plain-killed", root) / "search.journal"
    altered(file, which, **values)
    for words in GOING_ON:
        line = refusal(words)
        assert line.startswith(f"{file}: ") and "is damaged: " in line and line.endswith(f"; {FROM_A_COPY}"), line


@pytest.mark.parametrize(
    ("clock", "what"),
    [
        ({"waiting": [99]}, "its last clock does not fit the trials before it"),
        ({"waiting": [2]}, "its last clock does not fit the trials before it"),
        ({"lanes": [[0, 2]]}, "is missing"),
    ],
)
def test_a_last_clock_that_knows_other_trials(root: Path, clock: dict[str, object], what: str) -> None:
    file = lay("0.1.0", "plain-killed", root) / "search.journal"
    *_, last = file.read_bytes().splitlines()
    altered(file, json.loads(last).__eq__, user_attr={CLOCK: {**json.loads(last)["user_attr"][CLOCK], **clock}})
    for words in GOING_ON:
        assert what in refusal(words)


def test_other_trials_at_once_than_the_study_has(root: Path) -> None:
    folder = lay("0.1.0", "plain-killed", root)
    record = json.loads((folder / "study.json").read_text())
    record["config"]["search"]["parallel"] = 5
    (folder / "study.json").write_text(json.dumps(record))
    what = "is damaged: its last clock has 8 trials at once, and search.parallel is 5"
    assert refusal("study resume small") == f"{folder / 'search.journal'}: {what}; {FROM_A_COPY}"


def test_what_optuna_cannot_follow_is_said_and_nothing_is_cut_off(root: Path) -> None:
    file = lay("0.1.0", "plain-killed", root) / "search.journal"
    altered(file, of(op_code=5), distribution="{}")
    with file.open("a") as journal:
        journal.write('{"op_code":4')
    before = file.read_bytes()
    with pytest.raises(
        DamagedFile, match=r"is damaged: Optuna cannot follow its steps \(.*; bring it back from a copy"
    ):
        JournalFile(file)
    assert file.read_bytes() == before


WHOLE = [("0.1.0", f"{name}-{end}") for name in ("plain", "tune") for end in ("killed", "finished")]


@pytest.mark.parametrize(("version", "name"), [*WHOLE, ("0.1.0", "population-killed"), ("0.2.0", "groups-killed")])
def test_what_is_whole_is_passed(root: Path, version: str, name: str) -> None:
    folder = StudyFolder(root / "mlruns", lay(version, name, root).name)
    record = folder.read()
    check_search(folder, record.config, record.created_ms)
    assert len(JournalSteps(folder.journal).trials) >= len(read_log(folder).trials())
    assert regsearch("study list").exit_code == 0


def test_a_log_that_is_ahead_of_the_journal_is_whole(root: Path) -> None:
    """A kill between the two leaves a turn in the log that the search never heard of."""
    folder = StudyFolder(root / "mlruns", lay("0.1.0", "plain-killed", root).name)
    lines = folder.journal.read_bytes().splitlines(keepends=True)
    clocks = [place for place, line in enumerate(lines, 1) if CLOCK.encode() in line]
    for end in (*clocks, clocks[-1] - 1):
        folder.journal.write_bytes(b"".join(lines[:end]))
        record = folder.read()
        check_search(folder, record.config, record.created_ms)
