from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from regsearch.tracking.log.outbox import Outbox, fingerprint, read_from
from regsearch.tracking.log.records import Artifact, Metrics, Model, Note, Record, RunEnd, StudyEnd, from_json, to_json
from tests.tracking.studies import BEGIN, metrics, start, study


def records(path: Path) -> list[object]:
    return [record for record, _ in read_from(path)]


def test_what_is_committed_is_read_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "outbox.jsonl"
    told = list(study(9, 4, finals=2))
    with Outbox(path) as outbox:
        for record in told:
            assert outbox.append(record)
    assert repr(records(path)) == repr(told)  # repr, because NaN equals nothing
    assert all(repr(from_json(json.loads(json.dumps(to_json(record))))) == repr(record) for record in told)


def test_nothing_is_on_disk_before_commit_and_all_of_it_after(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.jsonl")
    outbox.append(start("trial", 0))
    assert outbox.path.stat().st_size == 0
    outbox.commit()
    assert records(outbox.path) == [start("trial", 0)]


@pytest.mark.parametrize("cut", [1, 10, 57, 300])
def test_a_torn_last_line_is_cut_off_and_may_be_appended_again(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "outbox.jsonl"
    told: list[Record] = [start("trial", 0), *(metrics("trial", 0, epoch) for epoch in (1, 2, 3))]
    with Outbox(path) as outbox:
        for record in told:
            outbox.append(record)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    with Outbox(path) as outbox:
        assert outbox.repaired
        kept = len(records(path))
        assert 0 < kept < len(told)
        assert [outbox.append(record) for record in told] == [False] * kept + [True] * (len(told) - kept)
    assert path.read_bytes() == whole
    assert not Outbox(path).repaired


def test_a_reader_leaves_a_line_that_is_still_being_written(tmp_path: Path) -> None:
    path = tmp_path / "outbox.jsonl"
    with Outbox(path) as outbox:
        outbox.append(start("trial", 0))
        outbox.append(start("trial", 1))
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    [(record, offset)] = read_from(path)
    assert record == start("trial", 0)
    path.write_bytes(whole)
    assert [later for later, _ in read_from(path, offset)] == [start("trial", 1)]


def test_a_damaged_line_is_named_not_skipped(tmp_path: Path) -> None:
    path = tmp_path / "outbox.jsonl"
    path.write_bytes(b'{"type":"note","tags":{}}\nrubbish\n')
    with pytest.raises(ValueError, match="byte 26"):
        records(path)


def test_repeating_is_a_no_op_and_other_content_is_reported(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.jsonl")
    first = Metrics("trial", 3, 1, {"val_loss": 0.5, "gap": float("nan")}, BEGIN)
    assert outbox.append(first)
    assert not outbox.append(Metrics("trial", 3, 1, {"val_loss": 0.5, "gap": float("nan")}, BEGIN + 9))
    assert outbox.conflicts == []
    assert not outbox.append(Metrics("trial", 3, 1, {"val_loss": 0.4, "gap": float("nan")}, BEGIN))
    assert len(outbox.conflicts) == 1
    assert outbox.append(Metrics("trial", 3, 1, {"test_loss": 0.5}, BEGIN))  # other metrics of that epoch
    assert outbox.append(Metrics("final", 3, 1, {"val_loss": 0.5}, BEGIN))
    assert outbox.append(RunEnd("trial", 3, "COMPLETE", None, BEGIN))
    assert not outbox.append(RunEnd("trial", 3, "COMPLETE", None, BEGIN + 9))


def test_the_latest_note_end_and_artifact_count(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.jsonl")
    assert [outbox.append(Note({"a": text})) for text in "xxyx"] == [True, False, True, True]
    ends = ("INTERRUPTED", "INTERRUPTED", "RUNNING", "COMPLETE")
    assert [outbox.append(StudyEnd(status, BEGIN)) for status in ends] == [True, False, True, True]  # type: ignore[arg-type]
    plot = tmp_path / "plot.png"
    plot.write_text("one")
    assert outbox.append(Artifact("study", 0, str(plot)))
    assert not outbox.append(Artifact("study", 0, str(plot)))
    plot.write_text("another")
    assert outbox.append(Artifact("study", 0, str(plot)))


def test_a_full_disk_leaves_whole_lines_and_commit_can_be_called_again(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.jsonl")
    outbox.append(start("trial", 0))
    outbox.commit()
    before = outbox.path.read_bytes()
    for epoch in range(1, 50):
        outbox.append(metrics("trial", 0, epoch))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 700, hard))
        with pytest.raises(OSError):
            outbox.commit()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert outbox.path.read_bytes() == before
    outbox.commit()
    assert len(records(outbox.path)) == 50


def test_fingerprints_tell_outboxes_apart(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a", "b")]
    for number, path in enumerate(paths):
        assert fingerprint(path) is None
        with Outbox(path) as outbox:
            outbox.append(start("trial", number))
    assert fingerprint(paths[0]) != fingerprint(paths[1])


def test_the_drivers_side_imports_nothing_heavy() -> None:
    code = (
        "import sys, regsearch.tracking.mlflow.writer_process;"
        "import regsearch.tracking.log.outbox, regsearch.tracking.log.memory;"
        "print([m for m in ('mlflow', 'pandas', 'numpy', 'torch', 'sqlalchemy') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_notes_are_those_of_their_run(tmp_path: Path) -> None:
    with Outbox(tmp_path / "outbox.jsonl") as outbox:
        assert outbox.append(Note({"role": "winner"}, "final", 1))
        assert outbox.append(Note({"role": "winner"}, "final", 2))
        assert outbox.append(Note({"role": "winner"}))
        assert not outbox.append(Note({"role": "winner"}, "final", 1))
        assert outbox.append(Note({"role": "earlier"}, "final", 1))
    with Outbox(tmp_path / "outbox.jsonl") as outbox:
        assert not outbox.append(Note({"role": "earlier"}, "final", 1))
    old = {"type": "note", "tags": {"role": "winner"}}
    assert from_json(old) == Note({"role": "winner"}), "those that were written before notes had an owner"


def test_an_alias_that_comes_back_is_set_again(tmp_path: Path) -> None:
    first, second = (Model("folder", "digits", "champion", "final", number) for number in (1, 2))
    with Outbox(tmp_path / "outbox.jsonl") as outbox:
        assert [outbox.append(each) for each in (first, first, second, second)] == [True, False, True, False]
    with Outbox(tmp_path / "outbox.jsonl") as outbox:
        assert [outbox.append(each) for each in (second, first, first)] == [False, True, False]
