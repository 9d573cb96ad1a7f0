"""The pages: what they name exists, and their study files and other blocks are read."""

from __future__ import annotations

import ast
import importlib
import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from regsearch.cli.app import app
from regsearch.config import load_config
from regsearch.regularizers.base import REGISTRY
from regsearch.workspace.spec import StudySpec
from tests.documents import DOCUMENTS, PAGES, ROOT, Block, blocks, spoken

LANGUAGES = ("sh", "text", "yaml", "python", "toml", "json")
FRAGMENT = {"name": "fragment", "data": {"source": "sklearn:wine"}, "model": {"name": "mlp"}}
"""What stands around a piece of a study file that a page shows."""


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith(("https://", "#")):
            assert ((ROOT / document).parent / target.partition("#")[0]).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_exist(document: str) -> None:
    """Every `make` target, every script, and every `regsearch` command with its options that a document names."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for line in spoken(document):
        program, *words = line.removeprefix(".venv/bin/").split() or [""]
        if program == "make" and words:
            assert re.search(rf"^{words[0]}:", makefile, flags=re.MULTILINE), line
        elif program == "python" and words[-1].endswith(".py"):
            own = {block.file for block in blocks(document)}
            assert words[-1] in own or (ROOT / words[-1]).exists(), line
        elif program == "regsearch" and words and not words[0].startswith("-"):
            named = words[: 2 if words[0] in ("study", "trial") else 1]
            shown = CliRunner(env={"COLUMNS": "200"}).invoke(app, [*named, "--help"], prog_name="regsearch")
            assert shown.exit_code == 0, line
            for option in re.findall(r"(?<=\s)--[a-z][\w-]*", line):
                assert re.search(rf"{option}\b", shown.output), f"{option} of {line}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_exist(document: str) -> None:
    """Every script, test and study of the repository that a document names in its text."""
    for line in spoken(document):
        if re.fullmatch(r"(tests|examples|studies|docs|benchmarks|regsearch)/[\w/.-]*", line):
            assert (ROOT / line).exists(), line


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("`make tea`", test_commands_exist),
        ("```sh\nmake tea    # or coffee\n```\n", test_commands_exist),
        ("`.venv/bin/python -m pytest tests/test_tea.py`", test_commands_exist),
        ("```python\n# tea.py\n```\n`python coffee.py`", test_commands_exist),
        ("`.venv/bin/regsearch brew`", test_commands_exist),
        ("```sh\nregsearch study brew mine.yaml\n```\n", test_commands_exist),
        ("```sh\nregsearch study start mine.yaml --brew 3\n```\n", test_commands_exist),
        ("`tests/test_tea.py`", test_files_exist),
        ("[there](not/there.md)", test_links_lead_somewhere),
        ("[there](not/there.md#part)", test_links_lead_somewhere),
    ],
)
def test_what_does_not_exist_is_noticed(
    text: str, check: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Makefile").write_text("all:\n")
    (tmp_path / "page.md").write_text(text)
    monkeypatch.setattr("tests.documents.ROOT", tmp_path)
    monkeypatch.setattr("tests.test_pages.ROOT", tmp_path)
    with pytest.raises(AssertionError):
        check("page.md")


def study_files() -> list[tuple[str, Block]]:
    """Every block of YAML on the pages."""
    return [(page, block) for page in PAGES for block in blocks(page) if block.language == "yaml"]


@pytest.mark.parametrize(("page", "block"), study_files(), ids=lambda each: each if isinstance(each, str) else "")
def test_study_files_and_pieces_of_them_are_read(page: str, block: Block, tmp_path: Path) -> None:
    content: dict[str, Any] = yaml.safe_load(block.text)
    if block.file is None:
        content = {**FRAGMENT, **content}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    (tmp_path / "as_shown.yaml").write_text(block.text)
    file = tmp_path / ("study.yaml" if block.file is None else "as_shown.yaml")
    with declared(page, tmp_path):
        assert StudySpec.of(load_config(file)).space.regularizers()


@contextmanager
def declared(page: str, folder: Path) -> Iterator[None]:
    """The regularizers that a page declares, known for as long as this."""
    texts = {block.file: block.text for block in blocks(page) if "\n@regularizer\n" in block.text and block.file}
    before, sys.path[:0] = dict(REGISTRY), [str(folder)]
    try:
        for file, text in texts.items():
            (folder / file).write_text(text)
            importlib.import_module(file.removesuffix(".py"))
        yield
    finally:
        sys.path.remove(str(folder))
        for file in texts:
            sys.modules.pop(file.removesuffix(".py"), None)
        for name in set(REGISTRY) - set(before):
            del REGISTRY[name]


@pytest.mark.parametrize("page", PAGES)
def test_blocks_are_code_that_can_be_read(page: str) -> None:
    for block in blocks(page):
        assert block.language in LANGUAGES or block.language.startswith("{"), block.text
        if block.language == "python":
            assert block.file is not None
            ast.parse(block.text)
        elif block.language == "toml":
            assert block.file is not None and tomllib.loads(block.text)
        elif block.language == "json":
            assert json.loads(block.text)


def test_the_start_page_leads_to_every_page() -> None:
    listed = {
        f"docs/{line.strip()}.md"
        for block in blocks("docs/index.md")
        for line in block.text.splitlines()
        if re.fullmatch(r"[\w/-]+", line.strip())
    }
    own = set(PAGES)
    assert own - {"docs/index.md"} <= listed
    made = ("docs/reference/", "docs/project/")  # from the code and the repository's other pages, with the site
    assert all((ROOT / page).exists() or page.startswith(made) for page in listed)
