"""Let pages link to Markdown files beside `docs/`, as on GitHub: the site has their own page, or hands the file out.

MyST takes a link to a Markdown file for one to a page of the site, and such a file is none.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s:#]+\.md)\)")
PAGES = {"regsearch/regularizers/README.md": "docs/reference/regularizers/index.md"}
"""Files that the site has as a page, with that page."""


def within_site(text: str, page: Path, docs: Path) -> str:
    """Rewrite the links of a page that leave `docs`: to the site's page of the file, or to a download of it.

    Args:
        text: the page in Markdown.
        page: its file.
    """

    def rewritten(link: re.Match[str]) -> str:
        words, target = link[1], Path(os.path.normpath(page.parent / link[2]))
        if target.is_relative_to(docs) or not target.exists():
            return link[0]
        own = docs.parent / PAGES.get(target.relative_to(docs.parent).as_posix(), "")
        if own.suffix == ".md" and own.exists():
            return f"[{words}]({os.path.relpath(own, page.parent)})"
        return f"{{download}}`{words.replace('`', '')} <{link[2]}>`"

    return LINK.sub(rewritten, text)


def setup(app: Any) -> dict[str, bool]:
    """Have Sphinx rewrite each page as it is read."""

    def read(app: Any, name: str, source: list[str]) -> None:
        source[0] = within_site(source[0], Path(app.env.doc2path(name)), Path(app.srcdir))

    app.connect("source-read", read)
    return {"parallel_read_safe": True}
