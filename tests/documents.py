"""The documents as programs: their fenced blocks become files and commands."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests import forked

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    file.relative_to(ROOT).as_posix()
    for file in (ROOT / "docs").rglob("*.md")
    if not any(part.startswith(("_", ".")) or part in ("reference", "project") for part in file.relative_to(ROOT).parts)
)
"""The pages of the documentation, but for those that are made from the code."""
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "regsearch/regularizers/README.md",
    "docker/README.md",
    "examples/README.md",
    "studies/README.md",
    "tests/README.md",
    *PAGES,
)
"""Every page that a reader is sent to."""


@dataclass(frozen=True)
class Block:
    """A fenced block under its heading; where its first line is a comment with a file name, it is that file."""

    section: str
    language: str
    text: str

    @property
    def file(self) -> str | None:
        found = re.match(r"# ([\w-]+\.\w+)\n", self.text)
        return found[1] if found else None


def blocks(document: str) -> list[Block]:
    """Every fenced block of a Markdown file of the repository."""
    found, section, fence = [], "", ""
    lines: list[str] = []
    for line in (ROOT / document).read_text(encoding="utf-8").splitlines(keepends=True):
        if fence and line.startswith("```"):
            found.append(Block(section, fence, "".join(lines)))
            fence = ""
        elif fence:
            lines.append(line)
        elif line.startswith("```"):
            fence, lines = line[3:].strip(), []
            assert fence, f"{document}: a block under {section!r} names no language"
        elif line.startswith("#"):
            section = line.lstrip("#").strip()
    return found


def write_files(document: str, folder: Path) -> None:
    """Write every block that names its file."""
    for block in blocks(document):
        if block.file is not None:
            (folder / block.file).write_text(block.text, encoding="utf-8")


def install(document: str, folder: Path) -> None:
    """Install the package that a document's files make, by its `pyproject.toml`, so that `folder` is a place of it."""
    source = folder / "source"
    source.mkdir()
    write_files(document, source)
    words = ["pip", "install", "-q", "--no-index", "--no-build-isolation", "--no-deps", "--target", str(folder), "."]
    done = subprocess.run([sys.executable, "-m", *words], cwd=source, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(source)


def commands(document: str, section: str) -> list[list[str]]:
    """The lines of the `sh` blocks under a heading, as words without their comments."""
    texts = [block.text for block in blocks(document) if (block.section, block.language) == (section, "sh")]
    return [shlex.split(line, comments=True) for text in texts for line in text.splitlines()]


def spoken(document: str) -> list[str]:
    """What a document tells its reader to type: the lines of `sh` blocks, and code within a line."""
    text = re.sub(r"^```.*?^```", "", (ROOT / document).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    typed = [line for block in blocks(document) if block.language == "sh" for line in block.text.splitlines()]
    return [line.partition("#")[0].strip() for line in typed + re.findall(r"`([^`]+)`", text)]


def run(words: list[str], folder: Path, *path: Path) -> str:
    """Run `regsearch ...` or `python ...` as a reader would in `folder`, and return its standard output."""
    return run_both(words, folder, *path)[0]


def run_both(words: list[str], folder: Path, *path: Path) -> tuple[str, str]:
    """As `run`; standard output and standard error."""
    program, *rest = words
    if program == "regsearch":
        rest = ["-m", "regsearch.cli", *rest]
    else:
        assert program == "python", f"a document asks for {program}"
    places = os.pathsep.join(map(str, (ROOT, *path)))
    environment = {**os.environ, "PYTHONPATH": places, "COLUMNS": "80"}
    done = forked.run(rest, folder, environment)
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}"
    return done.stdout, done.stderr
