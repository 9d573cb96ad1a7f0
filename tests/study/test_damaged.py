"""A file of a study that is damaged is named in one line, with what to do; exit code 2, and nothing is changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regsearch.errors import UserError
from regsearch.tracking.log.cursor import write_cursor
from regsearch.workspace.answer import Answer
from regsearch.workspace.machine import recorded_machine
from tests.fixtures import lay
from tests.study.refusals import Change, change, refusal, regsearch

REPORT = "study report small --out page.html"
FROM_A_COPY = "bring it back from a copy, or start the study anew with `regsearch study start FILE --replace`"
ANEW = "remove it, and `regsearch study resume small` writes it anew"


def whole(text: bytes) -> Callable[[Path], object]:
    return lambda file: file.write_bytes(text)


def folder_instead(file: Path) -> None:
    file.unlink()
    file.mkdir()


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (whole(b""), "is damaged: it is empty"),
    "a list": (whole(b"[]"), "is damaged: it holds no object of JSON"),
    "cut": (lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]), "is damaged, no JSON ("),
    "binary": (whole(b"\xff\xfe\x00\x80"), "is damaged, no JSON ("),
    "deep": (whole(b"[" * 200_000), "is damaged, no JSON ("),
    "a folder": (folder_instead, "cannot be read (Is a directory)"),
}
READERS = {
    "answer.json": (("study show small", REPORT, "study resume small", "study export small out"), ANEW),
    "study.json": (("study show small", "study list", "study delete small --yes"), "or remove the folder"),
    "data/manifest.json": (("study show small", REPORT, "study finalize small", "trial replay small 1"), FROM_A_COPY),
    "machine.json": ((REPORT, "study resume small", "trial replay small 1"), "or remove it: how wide packs"),
    "finals/summary.json": ((REPORT,), "answer.json, and `regsearch study resume small` writes both anew"),
}  # fmt: skip


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("name", READERS)
def test_a_file_that_is_no_object(root: Path, name: str, how: str) -> None:
    file = lay("0.1.0", "plain-finished", root) / name
    damage, what = DAMAGE[how]
    damage(file)
    commands, mend = READERS[name]
    for words in commands:
        line = refusal(words)
        assert line.startswith(f"{file}: {what}") and mend in line, line


LACKING = {
    "answer.json": (
        "study", "trials", "trials.pruned", "best", "best.params", "pack", "pack.width", "finals", "finals.winner",
        "finals.contrast.seeds", "sentence", "timing", "test_opened",
    ),
    "study.json": (
        "config", "config.name", "config.data", "config.data.source", "config.search", "config.search.trials",
        "created_ms",
    ),
    "data/manifest.json": ("task", "digest", "inputs", "sizes", "sizes.test"),
    "finals/summary.json": ("winner", "winner.label", "winner.gap.low", "baseline", "contrast"),
    "finals/importance.json": ("loss", "gap"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "key"), [(name, key) for name, keys in LACKING.items() for key in keys])
def test_a_field_that_is_missing(root: Path, name: str, key: str) -> None:
    file = lay("0.1.0", "plain-finished", root) / name
    change(file, lambda content: within(content, key)[0].pop(within(content, key)[1]))
    line = refusal("study list" if name == "study.json" else REPORT)
    assert line.startswith(f"{file}: {key}: is damaged: the field is missing; "), line
    if name == "answer.json":
        for words in ("study show small", "study resume small", "study export small out"):
            assert refusal(words) == line


def within(content: dict[str, Any], key: str) -> tuple[dict[str, Any], str]:
    *outer, last = key.split(".")
    for name in outer:
        content = content[name]
    return content, last


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("answer.json", "best", 3),
        ("answer.json", "best.params", []),
        ("answer.json", "trials.pruned", "none"),
        ("answer.json", "finals.winner.gap", None),
        ("study.json", "config", 3),
        ("study.json", "config.search", []),
        ("study.json", "config.folder", 3),
        ("data/manifest.json", "sizes.train", "many"),
        ("data/manifest.json", "task", "cooking"),
        ("data/manifest.json", "dtype", "float16"),
        ("data/manifest.json", "dtype", 3),
        ("data/manifest.json", "sizes.test", -1),
        ("data/manifest.json", "inputs", [0]),
        ("data/manifest.json", "outputs", 0),
        ("finals/summary.json", "winner.test_metric.value", "high"),
        ("machine.json", "width", "wide"),
        ("machine.json", "width", -1),
        ("machine.json", "width", True),
        ("machine.json", "workers", 0),
        ("machine.json", "compiled", 3),
    ],
)
def test_a_field_of_another_type(root: Path, name: str, key: str, value: object) -> None:
    file = lay("0.1.0", "plain-finished", root) / name
    change(file, lambda content: within(content, key)[0].update({within(content, key)[1]: value}))
    line = refusal(REPORT)
    place = f"{key}[0]" if isinstance(value, list) and value else key
    value = value[0] if isinstance(value, list) and value else value
    assert line.startswith(f"{file}: {place}: is damaged: input should be "), line
    assert f", and it is {json.dumps(value)}; " in line


@pytest.mark.parametrize("value", [[], {"major": 3}])
def test_a_value_of_the_machine_that_is_no_single_one(root: Path, value: object) -> None:
    file = lay("0.1.0", "plain-finished", root) / "machine.json"
    change(file, lambda content: content.update(python=value))
    for words in READERS["machine.json"][0]:
        line = refusal(words)
        assert line.startswith(f"{file}: python: is damaged: it is no single value; ") and "or remove it" in line


@pytest.mark.parametrize("text", ["{}", '{"cores": -1}'])
def test_a_machine_that_says_nothing_of_what_is_gone_on_with(root: Path, text: str) -> None:
    """It is as if it had been removed: what was measured is measured anew."""
    folder = lay("0.1.0", "plain-finished", root)
    (folder / "machine.json").write_text(text)
    assert regsearch(REPORT).exit_code == 0
    assert recorded_machine(folder).get("width") is None


@pytest.mark.parametrize(("key", "value"), [("inputs", [8, 8]), ("inputs", [1]), ("dtype", "int64")])
def test_rows_that_do_not_fit_their_manifest(root: Path, key: str, value: object) -> None:
    folder = lay("0.1.0", "plain-finished", root)
    change(folder / "data" / "manifest.json", lambda content: content.update({key: value, "vocabulary": [2]}))
    for words in ("study resume small", "study finalize small", "trial replay small 1"):
        line = refusal(words)
        what = "does not fit manifest.json: its rows are float32 of shape (64,); sealed were "
        assert line.startswith(f"{folder / 'data' / 'train_x.npy'}: {what}") and line.endswith(FROM_A_COPY), line


def test_codes_that_nobody_says_the_number_of(root: Path) -> None:
    file = lay("0.1.0", "plain-finished", root) / "data" / "manifest.json"
    change(file, lambda content: content.update(dtype="int64"))
    assert refusal(REPORT) == f"{file}: vocabulary: is damaged: codes need it; {FROM_A_COPY}"


@pytest.mark.parametrize("name", ["study.json", "data/manifest.json", "finals/summary.json", "outbox.jsonl"])
def test_a_file_that_is_gone(root: Path, name: str) -> None:
    file = lay("0.1.0", "plain-finished", root) / name
    file.unlink()
    line = refusal(REPORT)
    if name == "study.json":
        assert line == "NAME: no such study (got 'small'); there are: none"
    else:
        assert line.startswith(f"{file}: is missing; "), line


def test_a_folder_of_data_that_is_gone(root: Path) -> None:
    folder = lay("0.1.0", "plain-finished", root)
    shutil.rmtree(folder / "data")
    for words in ("study show small", REPORT, "study resume small", "study finalize small", "trial replay small 1"):
        assert refusal(words) == f"{folder / 'data' / 'manifest.json'}: is missing; {FROM_A_COPY}"


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (Path.unlink, "is missing"),
        (DAMAGE["cut"][0], "is damaged, no array ("),
        (whole(b""), "is damaged, no array ("),
        (lambda file: np.save(file, np.load(file)[1:]), "is damaged: it has 95 rows, and 96 were sealed"),
    ],
)
def test_rows_that_are_gone_or_cut(root: Path, damage: Callable[[Path], object], what: str) -> None:
    file = lay("0.1.0", "plain-finished", root) / "data" / "train_x.npy"
    damage(file)
    for words in ("study resume small", "study finalize small", "trial replay small 1"):
        line = refusal(words)
        assert line.startswith(f"{file}: {what}") and line.endswith(FROM_A_COPY), line


def test_test_rows_that_are_gone_are_missed_before_finals_are_trained(root: Path) -> None:
    file = lay("0.1.0", "plain-finished", root) / "data" / "sealed" / "test_y.npy"
    file.unlink()
    assert refusal("study finalize small") == f"{file}: is missing; {FROM_A_COPY}"


FIRST = {
    "garbage": (b"garbage", "unreadable record at byte 0"),
    "a list": (b"[]", "it says no type that is known"),
    "a number": (b"3", "it says no type that is known"),
    "no record": (b"{}", "it says no type that is known"),
    "of no type": (b'{"type":"nothing"}', "it says no type that is known"),
    "of two types": (b'{"type":["run_end"]}', "it says no type that is known"),
    "wrong field": (b'{"type":"study_start","name":3,"params":{},"tags":{},"time_ms":1}', "name cannot be 3"),
    "another": (b'{"type":"study_end","status":"COMPLETE","time_ms":1}', "does not begin with the study's start"),
}


@pytest.mark.parametrize("how", FIRST)
def test_a_log_whose_first_line_is_damaged(root: Path, how: str) -> None:
    file = lay("0.1.0", "plain-finished", root) / "outbox.jsonl"
    first, what = FIRST[how]
    file.write_bytes(first + b"\n" + file.read_bytes().split(b"\n", 1)[1])
    for words in (REPORT, "study resume small", "study finalize small", "trial replay small 1"):
        line = refusal(words)
        assert line.startswith(f"{file}: is damaged: ") and what in line and line.endswith(FROM_A_COPY), line


@pytest.mark.parametrize("how", [Path.unlink, whole(b""), folder_instead])
def test_a_log_that_is_gone(root: Path, how: Callable[[Path], object]) -> None:
    file = lay("0.1.0", "plain-killed", root) / "outbox.jsonl"
    how(file)
    for words in ("study show small", REPORT, "study resume small", "study finalize small", "trial replay small 1"):
        line = refusal(words)
        assert line.startswith(f"{file}: ") and line.endswith(FROM_A_COPY), line


def test_a_line_of_the_search_that_is_damaged(root: Path) -> None:
    """It is refused while everything is as it was, also the torn turn that would be cut off."""
    from regsearch.search.journal import JournalFile
    from regsearch.system.documents import DamagedFile

    file = lay("0.1.0", "plain-killed", root) / "search.journal"
    _, *rest = file.read_bytes().split(b"\n")
    for damaged in (b"garbage", b"[]", b'{"worker_id":"a"}', b'{"op_code":"0"}'):
        file.write_bytes(b"\n".join([damaged, *rest]) + b'{"op_code":4')
        before = file.read_bytes()
        with pytest.raises(DamagedFile, match="is damaged: line 1 is no step of a search; bring it back from a copy"):
            JournalFile(file)
        assert file.read_bytes() == before


def test_a_list_shows_the_studies_that_can_be_read(root: Path) -> None:
    folder = lay("0.1.0", "plain-finished", root)
    shutil.copytree(folder, folder.with_name("other"))
    change(folder.with_name("other") / "study.json", lambda content: content["config"].update(name="other"))
    change(folder / "study.json", lambda content: content["config"].pop("data"))
    for words in ("study list", "study list --json"):
        result = regsearch(words)
        assert result.exit_code == 2
        assert "other" in result.stdout and "small" not in result.stdout
        line = f"regsearch: {folder / 'study.json'}: config.data: is damaged: the field is missing; "
        assert result.stderr.startswith(line) and result.stderr.count("\n") == 1
    assert refusal("study show third") == "NAME: no such study (got 'third'); there are: other, small"
    assert regsearch("study show other").exit_code == 0


def test_a_study_in_the_folder_of_another(root: Path) -> None:
    """It would go on in a folder that is not there."""
    folder = lay("0.1.0", "plain-finished", root)
    change(folder / "study.json", lambda content: content["config"].update(name="other"))
    line = refusal("study show small")
    assert line.startswith(f"{folder / 'study.json'}: config.name: is not the name of the folder (got 'other'); ")


def test_a_damaged_study_can_be_deleted(root: Path) -> None:
    folder = lay("0.1.0", "plain-finished", root)
    for name in ("answer.json", "outbox.jsonl", "search.journal", "machine.json", "data/manifest.json"):
        (folder / name).write_bytes(b"\xff")
    result = regsearch("study delete small --yes")
    assert result.exit_code == 0, result.output
    assert not folder.exists()


@pytest.mark.slow
def test_an_answer_that_was_removed_is_written_anew(root: Path) -> None:
    """What the refusal of a damaged one advises gives the same answer, summary and count of openings."""
    folder = lay("0.1.0", "plain-finished", root)
    result = regsearch("study finalize small --seeds 2")
    assert result.exit_code == 0, result.output
    answer, summary = Answer.load(folder / "answer.json"), (folder / "finals" / "summary.json").read_text()
    whole(b"{}")(folder / "answer.json")
    assert ANEW in refusal("study resume small")
    (folder / "answer.json").unlink()
    whole(b"")(folder / "finals" / "summary.json")
    result = regsearch("study resume small")
    assert result.exit_code == 0, result.output
    again = Answer.load(folder / "answer.json")
    assert (again.finals, again.best, again.sentence) == (answer.finals, answer.best, answer.sentence)
    assert again.test_opened == answer.test_opened
    assert (folder / "finals" / "summary.json").read_text() == summary


def test_a_store_that_cannot_be_used_has_lost_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`compare` would advise to write anew what is there, in a store that cannot be written."""
    outbox = lay("0.1.0", "plain-finished", root) / "outbox.jsonl"
    write_cursor(outbox, outbox.stat().st_size)
    assert "the MLflow store lost " in refusal("study compare small small2")

    def away(uri: str, name: str) -> None:
        raise UserError("the MLflow store cannot be written", key="tracking.uri", value=uri)

    monkeypatch.setattr("regsearch.tracking.mlflow.runs.read_study", away)
    assert refusal("study compare small small2").startswith("tracking.uri: the MLflow store cannot be written (got ")


@pytest.mark.parametrize("number", [0, 15, 20])
def test_a_replay_after_a_kill_names_the_command_that_goes_on(root: Path, number: int) -> None:
    (lay("0.1.0", "plain-killed", root) / "lock").touch()
    assert refusal(f"trial replay small {number}").endswith("; `regsearch study resume small` goes on with it")


def test_a_replay_of_a_trial_that_will_never_be(root: Path) -> None:
    lay("0.1.0", "plain-killed", root)
    assert refusal("trial replay small 99") == "NUMBER: the study has no such trial (got 99); there are 0 to 15"


def unchanged(content: dict[str, Any]) -> None:
    """A change that changes nothing but the layout."""


def test_what_is_whole_is_read(root: Path) -> None:
    folder, same = lay("0.1.0", "plain-finished", root), unchanged
    for name in READERS:
        how: Change = same
        change(folder / name, how)
    for words in ("study show small", REPORT, "study list"):
        assert regsearch(words).exit_code == 0
