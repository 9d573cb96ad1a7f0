"""Write the generated pages where Sphinx reads them; a page that would say the same stays untouched."""

from __future__ import annotations

from pathlib import Path

from site_reference import commands, regularizers, study_file

PARTS = {"study-file": study_file.pages, "commands": commands.pages, "regularizers": regularizers.pages}
"""The folders below `docs/reference/` that hold nothing but generated pages."""


def write_pages(reference: Path) -> None:
    """Write all generated pages below this folder, and delete those of an earlier build that are no more."""
    for folder, pages in PARTS.items():
        _write(reference / folder, pages())


def _write(folder: Path, pages: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {folder / f"{name}.md": text for name, text in pages.items()}
    for file in set(folder.glob("*.md")) - set(wanted):
        file.unlink()
    for file, text in wanted.items():
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
