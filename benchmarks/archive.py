"""Where results are kept: each measurement by its date, commit and machine, beside the earlier ones of its name.

    results/throughput/2026-11-30-1812bad-amd-epyc-2-cores.json, .md and .png

`results/README.md` lists them, the latest first. A measurement never takes the place of another.
"""

from __future__ import annotations

import datetime
import json
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
_FORM = re.compile(r"(\d{4}-\d\d-\d\d)-([0-9a-f]{7,}(?:-changed)?|no-commit)-(.+)")

Page = Callable[[dict[str, Any], str], str]
"""A result and the name of its picture as a Markdown page."""
Draw = Callable[[dict[str, Any], Path], None]


def keep(
    result: Mapping[str, Any],
    out: Path,
    name: str,
    page: Page,
    draw: Draw | None = None,
    now: datetime.datetime | None = None,
) -> Path:
    """Write a result as JSON, page and picture, and the list of all results anew.

    Args:
        result: what was measured, of which `machine` says where.
        out: the folder of all results.
        name: of the benchmark.
        now: when it was measured; the time and the commit are added to the result.

    Returns:
        The JSON file; the others lie beside it.
    """
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    now, at = now or datetime.datetime.now(datetime.UTC), commit()
    stem = _free(folder, f"{now.date().isoformat()}-{at}-{_words(result['machine'])}")
    text = json.dumps({"measured": now.isoformat(timespec="seconds"), "commit": at, **result}, indent=1)
    file = folder / f"{stem}.json"
    file.write_text(text + "\n", encoding="utf-8")
    read = json.loads(text)  # keys as they are read back: the page can be made anew from the file
    (folder / f"{stem}.md").write_text(page(read, f"{stem}.png"), encoding="utf-8")
    if draw is not None:
        draw(read, folder / f"{stem}.png")
    (out / "README.md").write_text(index(out), encoding="utf-8")
    return file


def kept(out: Path, name: str) -> list[Path]:
    """The results of a benchmark as JSON files, the latest first."""
    return sorted((out / name).glob("*.json"), key=_place, reverse=True)


def latest(out: Path, name: str) -> Path:
    """The latest result of a benchmark.

    Raises:
        FileNotFoundError: there is none.
    """
    files = kept(out, name)
    if not files:
        raise FileNotFoundError(f"{out / name}: no result")
    return files[0]


def index(out: Path) -> str:
    """The list of all results as a Markdown page, by benchmark, the latest first."""
    lines = ["# Results", "", "| benchmark | measured | at commit | on |", "|---|---|---|---|"]
    for folder in sorted(path for path in out.iterdir() if path.is_dir()):
        for file in kept(out, folder.name):
            date, at, machine = _parts(file)
            link = file.with_suffix(".md").relative_to(out).as_posix()
            lines.append(f"| [{folder.name}]({link}) | {date} | {at} | {machine.replace('-', ' ')} |")
    return "\n".join(lines) + "\n"


def commit() -> str:
    """The commit that is measured, with `-changed` where the package or the benchmarks differ from it."""
    asked = ["git", "-C", str(HERE.parent)]
    try:
        head = subprocess.run([*asked, "rev-parse", "--short=7", "HEAD"], capture_output=True, text=True, check=True)
        paths = ["regsearch", "benchmarks/*.py", "pyproject.toml"]
        status = subprocess.run(
            [*asked, "status", "--porcelain", "--", *paths], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "no-commit"
    return head.stdout.strip() + "-changed" * bool(status.stdout.strip())


def _words(machine: Mapping[str, Any]) -> str:
    """The machine in words that a file's name may have."""
    words = f"{machine['cpu']} {machine['cores']} cores"
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def _free(folder: Path, stem: str) -> str:
    """The name, with a number behind it where it is taken."""
    tries = [stem, *(f"{stem}-{count}" for count in range(2, 1000))]
    return next(each for each in tries if not (folder / f"{each}.json").exists())


def _parts(file: Path) -> tuple[str, str, str]:
    """Date, commit and machine of a result."""
    found = _FORM.fullmatch(file.stem)
    if found is None:
        raise ValueError(f"{file}: not a result's name, which is DATE-COMMIT-MACHINE")
    return found[1], found[2], found[3]


def _place(file: Path) -> tuple[str, str]:
    """Where a result stands in time; the first ones say no more than their date."""
    measured: str = json.loads(file.read_text(encoding="utf-8")).get("measured", _parts(file)[0])
    return measured, file.name
