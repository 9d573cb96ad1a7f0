"""Links from the documentation to Markdown files beside it: the site has a page of them, or hands them out."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tests.documents import ROOT


@pytest.fixture(scope="module")
def outside_links() -> ModuleType:
    spec = importlib.util.spec_from_file_location("outside_links", ROOT / "docs" / "_ext" / "outside_links.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("link", "rewritten"),
    [
        ("[the rules](../../CONTRIBUTING.md)", "{download}`the rules <../../CONTRIBUTING.md>`"),
        ("[all](../../regsearch/regularizers/README.md)", "[all](../reference/regularizers/index.md)"),
        ("[next](other.md)", "[next](other.md)"),
        ("[gone](../../GONE.md)", "[gone](../../GONE.md)"),
        ("[paper](https://example.org/a.md)", "[paper](https://example.org/a.md)"),
        ("![picture](../../CONTRIBUTING.md)", "![picture](../../CONTRIBUTING.md)"),
    ],
)
def test_links_that_leave_the_pages_are_rewritten(
    outside_links: ModuleType, link: str, rewritten: str, tmp_path: Path
) -> None:
    for name in ("CONTRIBUTING.md", "regsearch/regularizers/README.md", "docs/reference/regularizers/index.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    page = tmp_path / "docs" / "start" / "page.md"
    text = f"See {link}, please."
    assert outside_links.within_site(text, page, tmp_path / "docs") == f"See {rewritten}, please."
