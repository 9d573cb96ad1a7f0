"""What a newer regsearch wrote, or nobody, is refused in one line with exit code 2, and nothing is changed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from regsearch.cli.app import app
from regsearch.export import export_study
from regsearch.search.clock import CLOCK
from regsearch.system import schema
from regsearch.tracking.mlflow import predict
from tests.fixtures import lay
from tests.study.small import study_file

Change = Callable[[dict[str, Any]], object]
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


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGSEARCH_HOME", str(tmp_path / "mlruns"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def change(file: Path, how: Change) -> None:
    """Change an object of JSON, the last record of a log, or the last clock of a journal."""
    lines = file.read_text().splitlines() if file.suffix in (".jsonl", ".journal") else [file.read_text()]
    last = max(place for place, line in enumerate(lines) if file.suffix != ".journal" or CLOCK in line)
    found = json.loads(lines[last])
    how(found["user_attr"][CLOCK] if file.suffix == ".journal" else found)
    lines[last] = json.dumps(found, separators=(",", ":"))
    file.write_text("\n".join(lines) + "\n" * (len(lines) > 1))


def seal_again(file: Path) -> None:
    """The sums of a champion whose manifest was changed."""
    from regsearch.tracking.mlflow.package import seal

    if file.parent.name == "champion":
        seal(file.parent)


def refusal(words: str) -> str:
    """The one line of a command that is refused and leaves every file as it was."""
    before = {path: path.read_bytes() for path in Path.cwd().rglob("*") if path.is_file()}
    result = CliRunner().invoke(app, words.split(), prog_name="regsearch")
    assert result.exit_code == 2, result.output
    after = {path: path.read_bytes() for path in Path.cwd().rglob("*") if path.is_file()}
    assert after == before
    assert result.stderr.count("\n") == 1 and result.stdout == "", result.output
    return result.stderr.removeprefix("regsearch: ").rstrip("\n")


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
    command = [sys.executable, "predict.py", "example.csv"]
    assert subprocess.run(command, cwd="out", capture_output=True, check=False).returncode == 0
    change(Path("out/manifest.json"), lambda found: found.update(schema=9))
    done = subprocess.run(command, cwd="out", capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
    what = f"written by a newer regsearch (schema 9, this predict.py reads up to {schema.MANIFEST})"
    assert f"manifest.json: {what}; pip install -U regsearch" in done.stderr


UNKNOWN: dict[str, tuple[Change, str, str]] = {
    "study.json": (lambda found: found.update(colour=1), "colour", "study show small"),
    "answer.json": (lambda found: found.update(colour=1), "colour", "study show small"),
    "outbox.jsonl": (lambda found: found.update(colour=1), "study_end.colour", "study report small --out page.html"),
    "data/manifest.json": (lambda found: found.update(colour=1), "colour", "study show small"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_field_that_no_version_wrote(root: Path, name: str) -> None:
    how, place, words = UNKNOWN[name]
    file = lay("0.1.0", "plain-finished", root) / name
    change(file, how)
    line = refusal(words)
    assert line.startswith(f"{file}: {place}: unknown field; known are "), line


@pytest.mark.parametrize("within", ["trials", "best"])
def test_a_field_within_an_answer_that_no_version_wrote(root: Path, within: str) -> None:
    file = lay("0.1.0", "plain-finished", root) / "answer.json"
    change(file, lambda found: found[within].update(colour=1))
    assert f": {within}.colour: unknown field" in refusal("study show small")


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
