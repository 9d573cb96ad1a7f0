"""The architecture page: picture and list are those of the imports, and its walks name what is there, in few steps."""

from __future__ import annotations

import ast
import importlib.util
import re
from types import ModuleType

import pytest

from tests.documents import ROOT
from tests.test_imports import LAYERS, RANK

PAGE = (ROOT / "docs" / "concepts" / "architecture.md").read_text(encoding="utf-8")
MOST = {"A report, from a pack to MLflow": 8, "A final, from finalists to the answer": 20, "The words": 15}
"""How many steps a walk may take, and how many words one has to learn."""


@pytest.fixture(scope="module")
def architecture() -> ModuleType:
    spec = importlib.util.spec_from_file_location("architecture", ROOT / "docs" / "architecture.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_picture_and_list_are_up_to_date(architecture: ModuleType) -> None:
    assert architecture.PICTURE.read_text(encoding="utf-8") == architecture.picture(), "make docs"
    (shown,) = architecture.TABLE.findall(PAGE)
    assert shown == architecture.table(), "make docs"


def test_a_new_import_changes_the_picture(architecture: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, before = architecture.imports(), architecture.picture()
    monkeypatch.setattr(architecture, "imports", lambda: {**graph, "tasks": graph["tasks"] | {"trial"}})
    assert architecture.picture() != before


def test_arrows_that_others_imply_are_left_out(architecture: ModuleType) -> None:
    graph = {"a": {"b", "c"}, "b": {"c"}, "c": set()}
    assert architecture.reduced(graph) == {"a": {"b"}, "b": {"c"}, "c": set()}
    assert architecture.rows(graph) == [["a"], ["b"], ["c"]]


def test_every_part_is_shown_and_none_above_what_the_layers_allow(architecture: ModuleType) -> None:
    rows = architecture.rows(architecture.imports())
    assert {part for row in rows for part in row} == set(RANK)
    assert len(rows) <= len(LAYERS)


def rows_of(section: str) -> list[list[str]]:
    """The cells of the table under a heading, without its head."""
    text = PAGE.split(f"## {section}\n")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


@pytest.mark.parametrize(("section", "most"), MOST.items())
def test_walks_and_words_are_few(section: str, most: int) -> None:
    assert 5 < len(rows_of(section)) <= most


def named() -> list[tuple[str, str]]:
    """Every file that the page names in a walk, with the name that stands behind it."""
    walks = [rows_of(section) for section in MOST if section != "The words"]
    return [(found[1], found[2]) for rows in walks for row in rows for found in [_where(row[-1])]]


def _where(cell: str) -> re.Match[str]:
    match = re.fullmatch(r"`([\w/]+\.py)` `([\w.]+)`", cell)
    assert match is not None, cell
    return match


@pytest.mark.parametrize(("file", "name"), named())
def test_what_a_walk_names_is_there(file: str, name: str) -> None:
    body = ast.parse((ROOT / "regsearch" / file).read_text(encoding="utf-8")).body
    for part in name.split("."):
        body = next((getattr(node, "body", []) for node in body if getattr(node, "name", "") == part), [])
        assert body, f"{file} has no {name}"


def test_the_flow_names_what_is_there() -> None:
    for _, names, files in rows_of("How a study flows"):
        texts = [
            (ROOT / "regsearch" / file).read_text(encoding="utf-8") for file in re.findall(r"`([\w/]+\.py)`", files)
        ]
        assert texts
        assert all(any(name in text for text in texts) for name in re.findall(r"`(\w+)`", names)), names
