"""Write the generated pages where Sphinx reads them; a page that would say the same stays untouched."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from site_reference import commands, regularizers, repository, study_file


def write_pages(docs: Path) -> None:
    """Write all generated pages below this folder, and delete those of an earlier build that are no more."""
    _write(docs / "reference" / "study-file", study_file.pages())
    _write(docs / "reference" / "commands", commands.pages())
    _write(docs / "reference" / "regularizers", regularizers.pages())
    _write(docs / repository.FOLDER, repository.pages(docs.parent))


def _write(folder: Path, pages: Mapping[str, str]) -> None:
    wanted = {folder / f"{name}.md": text for name, text in pages.items()}
    for file in set(folder.rglob("*.md")) - set(wanted):
        file.unlink()
    for file, text in wanted.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
