"""What a newer regsearch wrote, or nobody, is refused in one line with exit code 2, and nothing is changed."""

from __future__ import annotations

import json
import shutil
from functools import reduce
from pathlib import Path

import pytest

from regsearch.errors import UserError
from regsearch.export import export_study
from regsearch.study.study import Study
from regsearch.system import schema
from regsearch.tracking.mlflow import predict
from tests import forked
from tests.fixtures import lay
from tests.study.refusals import Change, change, refusal, regsearch, seal_again
from tests.study.small import study_file

FILES = {
    "study.json": (schema.STUDY, "study show small"),
    "answer.json": (schema.ANSWER, "study show small"),
    "outbox.jsonl": (schema.LOG, "study report small --out page.html"),
    "machine.json": (schema.MACHINE, "study report small --out page.html"),
    "data/manifest.json": (schema.MANIFEST, "study show small"),
    "finals/summary.json": (schema.FINALS, "study report small --out page.html"),
    "finals/importance.json": (schema.FINALS, "study report small --out page.html"),
    "finals/champion/manifest.json": (schema.MANIFEST, "study export small out --no-onnx"),
}
KILLED = {
    "study.json": schema.STUDY,
    "outbox.jsonl": schema.LOG,
    "search.journal": schema.SEARCH,
    "machine.json": schema.MACHINE,
    "data/manifest.json": schema.MANIFEST,
}


def newer(latest: int, file: object, found: int | None = None) -> str:
    what = f"written by a newer regsearch (schema {found or latest + 1}, this one reads up to {latest})"
    return f"{file}: {what}; pip install -U regsearch"


@pytest.mark.parametrize("name", FILES)
def test_a_finished_study_of_a_newer_version(root: Path, name: str) -> None:
    latest, words = FILES[name]
    file = lay("0.1.0", "plain-finished", root) / name
    change(file, lambda found: found.update(schema=latest + 1))
    seal_again(file)
    assert refusal(words) == newer(latest, file)


@pytest.mark.parametrize("word", ["resume", "finalize"])
@pytest.mark.parametrize("name", KILLED)
def test_a_killed_study_of_a_newer_version(root: Path, name: str, word: str) -> None:
    file = lay("0.1.0", "plain-killed", root) / name
    change(file, lambda found: found.update(schema=7))
    assert refusal(f"study {word} small") == newer(KILLED[name], file, 7)


@pytest.mark.parametrize("name", ["answer.json", "finals/summary.json", "finals/champion/manifest.json"])
def test_what_a_newer_version_concluded_is_not_concluded_anew(root: Path, name: str) -> None:
    latest, _ = FILES[name]
    file = lay("0.1.0", "plain-finished", root) / name
    change(file, lambda found: found.update(schema=latest + 1))
    seal_again(file)
    assert refusal("study finalize small") == newer(latest, file)


def test_a_study_of_which_one_file_is_newer_is_read_by_no_command_and_may_be_deleted(root: Path) -> None:
    """Another answer may have been found since; whoever deletes it needs `study.json` alone."""
    file = lay("0.1.0", "plain-finished", root) / "outbox.jsonl"
    change(file, lambda found: found.update(schema=99))
    for words in ("study show", "study report", "study resume", "study finalize", "study importance"):
        assert refusal(f"{words} small") == newer(schema.LOG, file, 99)
    for words in ("study export small out", "trial replay small 0"):
        assert refusal(words) == newer(schema.LOG, file, 99)
    result = regsearch("study delete small --yes")
    assert result.exit_code == 0, result.output
    assert not file.parent.exists()


def test_a_champion_of_a_newer_version_is_not_called_damaged(root: Path) -> None:
    """Its sums may be of a form that this version does not know either."""
    file = lay("0.1.0", "plain-finished", root) / "finals" / "champion" / "manifest.json"
    change(file, lambda found: found.update(schema=99))
    assert refusal("study export small out --no-onnx") == newer(schema.MANIFEST, file, 99)


def test_nothing_is_written_before_a_newer_answer_is_refused(root: Path) -> None:
    folder = lay("0.1.0", "plain-finished", root)
    (folder / "outbox.status").write_text("as it was")
    change(folder / "answer.json", lambda found: found.update(schema=99))
    assert refusal("study resume small") == newer(schema.ANSWER, folder / "answer.json", 99)


def test_a_torn_turn_after_a_newer_clock_is_not_cut_off(root: Path) -> None:
    file = lay("0.1.0", "plain-killed", root) / "search.journal"
    change(file, lambda found: found.update(schema=7))
    with file.open("a") as journal:
        journal.write('{"op_code":4,"worker')
    assert refusal("study resume small") == newer(schema.SEARCH, file, 7)


def test_a_list_of_studies_one_of_which_is_newer(root: Path) -> None:
    file = lay("0.1.0", "plain-killed", root) / "study.json"
    change(file, lambda found: found.update(schema=schema.STUDY + 1))
    assert refusal("study list") == newer(schema.STUDY, file)


@pytest.mark.parametrize("name", KILLED)
def test_a_newer_study_among_others_is_named_and_the_others_are_listed(root: Path, name: str) -> None:
    other = lay("0.1.0", "plain-killed", root)
    shutil.copytree(other, other.with_name("other"))
    change(other.with_name("other") / "study.json", lambda found: found["config"].update(name="other"))
    change(other / name, lambda found: found.update(schema=7))
    for words in ("study list", "study list --json"):
        result = regsearch(words)
        assert result.exit_code == 2 and "other" in result.stdout and "small" not in result.stdout
        assert result.stderr == f"regsearch: {newer(KILLED[name], other / name, 7)}\n"


@pytest.mark.parametrize("name", ["study.json", "answer.json", "outbox.jsonl", "data/manifest.json"])
def test_a_newer_study_is_compared_with_none_and_tabled_by_nothing(root: Path, name: str) -> None:
    latest, _ = FILES[name]
    file = lay("0.1.0", "plain-finished", root) / name
    change(file, lambda found: found.update(schema=latest + 1))
    assert refusal("study compare small another") == newer(latest, file)
    with pytest.raises(UserError, match="written by a newer regsearch"):
        Study.open("small").frame()


def test_a_study_file_of_a_newer_version(root: Path) -> None:
    file = study_file(root)
    text = file.read_text()
    file.write_text(f"{text}schema: {schema.STUDY_FILE + 1}\nnovelty: yes\n")
    assert refusal("study start small.yaml") == newer(schema.STUDY_FILE, "small.yaml")
    for wrong in ("'1'", "0", "true", "1.0", "[1]"):
        file.write_text(f"{text}schema: {wrong}\n")
        assert refusal("study start small.yaml").startswith("small.yaml: schema: cannot be used (got ")


@pytest.mark.parametrize("said", ["", f"schema: {schema.STUDY_FILE}\n", "schema: 1\n", "schema:\n"])
def test_a_study_file_of_this_version(root: Path, said: str) -> None:
    from regsearch.config import load_config

    file = study_file(root)
    known = load_config(file)
    file.write_text(said + file.read_text())
    assert load_config(file) == known


def test_an_exported_folder_of_a_newer_version(root: Path) -> None:
    """predict.py is shipped by itself: it has the number of its own."""
    assert predict.SCHEMA == schema.MANIFEST
    lay("0.1.0", "plain-finished", root)
    export_study("small", "out", onnx=False)
    command = ["predict.py", "example.csv"]
    assert forked.run(command, Path("out").absolute()).returncode == 0
    change(Path("out/manifest.json"), lambda found: found.update(schema=9))
    done = forked.run(command, Path("out").absolute())
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
    what = f"written by a newer regsearch (schema 9, this predict.py reads up to {schema.MANIFEST})"
    assert f"manifest.json: {what}; pip install -U regsearch" in done.stderr


UNKNOWN: dict[str, tuple[Change, str, str]] = {
    "study.json": (lambda found: found.update(colour=1), "colour", "study show small"),
    "answer.json": (lambda found: found.update(colour=1), "colour", "study show small"),
    "outbox.jsonl": (lambda found: found.update(colour=1), "study_end.colour", "study report small --out page.html"),
    "data/manifest.json": (lambda found: found.update(colour=1), "colour", "study show small"),
    "finals/summary.json": (lambda found: found.update(colour=1), "colour", "study report small --out page.html"),
    "finals/importance.json": (lambda found: found.update(colour=1), "colour", "study report small --out page.html"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_field_that_no_version_wrote(root: Path, name: str) -> None:
    how, place, words = UNKNOWN[name]
    file = lay("0.1.0", "plain-finished", root) / name
    change(file, how)
    line = refusal(words)
    assert line.startswith(f"{file}: {place}: unknown field; known are "), line


@pytest.mark.parametrize("within", ["trials", "best", "finals", "finals.winner"])
@pytest.mark.parametrize("words", ["study show small", "study report small --out page.html", "study resume small"])
def test_a_field_within_an_answer_that_no_version_wrote(root: Path, within: str, words: str) -> None:
    file = lay("0.1.0", "plain-finished", root) / "answer.json"
    change(file, lambda found: reduce(dict.__getitem__, within.split("."), found).update(colour=1))
    assert refusal(words).startswith(f"{file}: {within}.colour: unknown field; known are ")


def test_a_key_of_a_kept_study_that_no_version_had(root: Path) -> None:
    file = lay("0.1.0", "plain-finished", root) / "study.json"
    change(file, lambda found: found["config"]["train"].update(epoch=3))
    line = refusal("study show small")
    assert line.startswith(f"{file}: train.epoch: unknown key (got 3)") and "did you mean epochs?" in line


def test_fields_of_the_machine_that_another_version_recorded_stay(root: Path) -> None:
    from regsearch.workspace.machine import record_machine, recorded_machine

    class Known:
        width, workers, compiled = 4, 2, False

    folder = lay("0.1.0", "plain-finished", root)
    change(folder / "machine.json", lambda found: found.update(instructions="AVX2"))
    record_machine(folder, Known())  # type: ignore[arg-type]
    assert recorded_machine(folder)["instructions"] == "AVX2" and recorded_machine(folder)["width"] == 4
    assert json.loads((folder / "machine.json").read_text())[schema.KEY] == schema.MACHINE


def test_lines_of_the_ledger_that_another_version_wrote_stay_and_count(root: Path) -> None:
    from regsearch.data import Manifest, open_test, openings

    folder = lay("0.1.0", "plain-finished", root)
    digest = Manifest.load(folder / "data").test_digest
    page = root / "mlruns" / "ledger" / f"{digest}.jsonl"
    page.write_text(page.read_text() + '{"study": "later", "decision": {"winner": 3}, "colour": 1}\n')
    before = page.read_text()
    open_test(folder / "data", page.parent, "another", "finals", {"winner": 1})
    assert page.read_text().startswith(before)
    assert [line["study"] for line in openings(page.parent, digest)] == ["small", "later", "another"]
