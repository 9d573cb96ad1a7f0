"""The repository's pages that stand beside its code, as pages of the site, and the links to and from them.

On disk a link leads from file to file, so that it works where the repository is read; the site has the same pages in
other places.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from site_reference.markdown import code, heading, page

FOLDER = "project"
_PATTERNS = (
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "studies/*.md",
    "examples/*.md",
    "docker/*.md",
    "tests/*.md",
    "findings/*.md",
    "benchmarks/**/*.md",
)
_ELSEWHERE = {"README.md": "index", "regsearch/regularizers/README.md": "reference/regularizers/index"}
"""What the site says on a page of its own."""
_LINK = re.compile(r"(?P<image>!?)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<path>[^)\s#<:]+)(?P<place>#[^)\s]*)?\)")


def site_name(file: str) -> str:
    """Name the page of a file: `project/docker` for `docker/README.md`."""
    stem = file.removesuffix(".md").removesuffix("/README").lower()
    return f"{FOLDER}/{stem}"


def documents(root: Path) -> dict[str, str]:
    """Give the page of each Markdown file outside `docs/` that the site has, by the file's path in the repository."""
    files = sorted({file for pattern in _PATTERNS for file in root.glob(pattern)})
    names = [file.relative_to(root).as_posix() for file in files]
    return _ELSEWHERE | {name: site_name(name) for name in names}


def pages(root: Path) -> dict[str, str]:
    """Give every page of this part by its name, its links as they are on disk."""
    own = {file: name for file, name in documents(root).items() if name.startswith(f"{FOLDER}/")}
    texts = {name.removeprefix(f"{FOLDER}/"): (root / file).read_text(encoding="utf-8") for file, name in own.items()}
    about = "How the project is worked on, and what was measured."
    return {"index": page(heading(1, "Project"), about, code("{toctree}", "\n".join(texts))), **texts}


def relinked(text: str, docname: str, root: Path) -> str:
    """Turn the links of a page to what the site has in their place; a folder, which it has not, is named without."""
    known = documents(root)
    file = next((file for file, name in known.items() if name == docname and name not in _ELSEWHERE.values()), None)
    origin = root / (file or f"docs/{docname}.md")

    def turned(found: re.Match[str]) -> str:
        target = Path(os.path.normpath(origin.parent / found["path"]))
        if not target.is_relative_to(root) or not target.exists():
            return found[0]
        inside = target.relative_to(root).as_posix()
        if target.is_dir():
            return found["text"]
        if inside in known:
            target = root / "docs" / f"{known[inside]}.md"
        path = os.path.relpath(target, (root / "docs" / docname).parent)
        return f"{found['image']}[{found['text']}]({path}{found['place'] or ''})"

    return _LINK.sub(turned, text)


def relink(app: Sphinx, docname: str, source: list[Any]) -> None:
    """Turn the links of a page when Sphinx reads it."""
    source[0] = relinked(source[0], docname, Path(app.srcdir).parent)
