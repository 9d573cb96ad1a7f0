"""Results are kept by date, commit and machine: none takes the place of another, and the latest is found."""

from __future__ import annotations

import datetime
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "benchmarks"
RESULTS = SCRIPTS / "results"
NAMES = {path.stem for path in SCRIPTS.glob("*.py")}
MACHINE = {"cpu": "Some(R) CPU @ 2.5GHz", "cores": 4}


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The scripts see one another by their bare names, as when they are run."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    yield
    for name in NAMES & set(sys.modules):
        del sys.modules[name]


def kept_at(out: Path, day: int, figure: float) -> Path:
    from archive import keep

    def page(result: dict[str, Any], picture: str) -> str:
        return f"{result['figure']} ![it]({picture})"

    def draw(result: dict[str, Any], file: Path) -> None:
        file.write_text(str(result["figure"]))

    now = datetime.datetime(2026, 12, day, 12, int(figure), tzinfo=datetime.UTC)
    file: Path = keep({"machine": MACHINE, "figure": figure}, out, "speed", page, draw, now)
    return file


def test_every_result_stays_and_the_latest_is_found(tmp_path: Path) -> None:
    from archive import commit, kept, latest

    first, second, third = (kept_at(tmp_path, day, figure) for day, figure in ((2, 1.0), (2, 2.0), (1, 3.0)))
    assert latest(tmp_path, "speed") == second and kept(tmp_path, "speed") == [second, first, third]
    assert [json.loads(file.read_text())["figure"] for file in (first, second, third)] == [1, 2, 3]
    stem = f"2026-12-02-{commit()}-some-r-cpu-2-5ghz-4-cores"
    assert [first.stem, second.stem] == [stem, f"{stem}-2"]
    assert second.with_suffix(".md").read_text() == f"2.0 ![it]({stem}-2.png)"
    assert second.with_suffix(".png").read_text() == "2.0"
    rows = (tmp_path / "README.md").read_text().splitlines()[4:]
    assert [row.split("|")[2].strip() for row in rows] == ["2026-12-02", "2026-12-02", "2026-12-01"]
    with pytest.raises(FileNotFoundError, match="no result"):
        latest(tmp_path, "other")


def test_a_name_that_is_none_is_not_taken_for_a_result(tmp_path: Path) -> None:
    from archive import index

    (tmp_path / "speed").mkdir()
    (tmp_path / "speed" / "result.json").write_text("{}")
    with pytest.raises(ValueError, match="DATE-COMMIT-MACHINE"):
        index(tmp_path)


def test_the_list_of_the_kept_results_is_as_it_would_be_made() -> None:
    from archive import index

    assert (RESULTS / "README.md").read_text() == index(RESULTS)


@pytest.mark.parametrize("file", sorted(RESULTS.glob("*/*.md")), ids=lambda file: file.parent.name)
def test_what_a_page_names_is_there(file: Path) -> None:
    assert file.with_suffix(".json").exists()
    links = re.findall(r"\]\(([^)#]+)\)", file.read_text())
    assert all(link.startswith("http") or (file.parent / link).exists() for link in links)


def test_the_commits_are_of_this_repository() -> None:
    from archive import kept

    git = ["git", "-C", str(SCRIPTS), "rev-parse", "--verify", "--quiet"]
    if subprocess.run([*git, "HEAD"], capture_output=True, check=False).returncode:
        pytest.skip("not in a repository")
    for folder in sorted(path for path in RESULTS.iterdir() if path.is_dir()):
        for file in kept(RESULTS, folder.name):
            found = file.stem.split("-")[3]
            assert subprocess.run([*git, f"{found}^{{commit}}"], capture_output=True, check=False).returncode == 0, file


@pytest.mark.parametrize(
    ("name", "module"), [("throughput", "throughput_page"), ("growth", "growth_page"), ("null", "null_page")]
)
def test_a_page_is_made_anew_from_its_result(name: str, module: str) -> None:
    from importlib import import_module

    from archive import latest

    file = latest(RESULTS, name)
    made = import_module(module).page(json.loads(file.read_text()), f"{file.stem}.png")
    assert made.split() == file.with_suffix(".md").read_text().split()
