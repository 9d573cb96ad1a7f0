"""Files of a study changed by hand, and the one line of a command that is refused for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from regsearch.cli.app import app
from regsearch.search.clock import CLOCK

Change = Callable[[dict[str, Any]], object]


def regsearch(words: str) -> Result:
    return CliRunner().invoke(app, words.split(), prog_name="regsearch")


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
    result = regsearch(words)
    assert result.exit_code == 2, result.output
    after = {path: path.read_bytes() for path in Path.cwd().rglob("*") if path.is_file()}
    assert after == before
    assert result.stderr.count("\n") == 1 and result.stdout == "", result.output
    return result.stderr.removeprefix("regsearch: ").rstrip("\n")
