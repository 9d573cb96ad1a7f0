"""The page of regularizers of one's own: its rules are searched from a script, installed, found, and checked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from regsearch.testing import PROPERTIES
from tests.documents import ROOT, commands, install, run, write_files

PAGE = "docs/howto/own-regularizer.md"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the page's package as `pip install .` leaves it."""
    folder = tmp_path_factory.mktemp("site")
    install(PAGE, folder)
    return folder


def test_the_command_line_finds_what_is_installed(installed: Path, tmp_path: Path) -> None:
    pip, explain, _ = commands(PAGE, "Make it known everywhere")
    assert pip == ["pip", "install", "."]
    assert "sigma" in run(explain, tmp_path, installed)
    assert "sum |w|" in run([*explain[:-1], "hoyer_square"], tmp_path, installed)
    assert "entropy" in run([*explain[:-1], "confidence_penalty"], tmp_path, installed)


@pytest.mark.slow
@pytest.mark.timeout(600)  # half a minute on an idle machine
def test_a_script_searches_it_and_then_the_command_line(installed: Path, tmp_path: Path) -> None:
    write_files(PAGE, tmp_path)
    (script,) = commands(PAGE, "Search it from a script")
    assert re.search(r"On 3\d unseen rows, ", run(script, tmp_path))
    (confident,) = commands(PAGE, "A penalty")
    assert "confident: 6 trials" in run(confident, tmp_path, installed)


@pytest.mark.slow
@pytest.mark.timeout(600)  # some twenty seconds on an idle machine
def test_every_rule_of_the_page_keeps_what_it_must(tmp_path: Path) -> None:
    write_files(PAGE, tmp_path)
    files = ["test_my_rules.py", "test_my_model.py"]
    printed = run(["python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *files], tmp_path)
    assert "28 passed" in printed


def test_the_table_of_checks_is_that_of_the_checks() -> None:
    page = (ROOT / PAGE).read_text(encoding="utf-8")
    rows = page.split("| check | what must hold |")[1].split("\n\n")[0].splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == list(PROPERTIES)
