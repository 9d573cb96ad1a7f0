"""What a release is made of: one version everywhere, a citation that can be read, and a wheel with all its files."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from datetime import date
from pathlib import Path

import pytest
import yaml

from tests.documents import ROOT
from tests.fixtures import HERE as FIXTURES

PACKAGE = ROOT / "regsearch"
DATA = (
    "py.typed",
    "regularizers/README.md",
    "core/layers/cells.cpp",
    "pages/templates/page.html",
    "pages/templates/parts.html",
    "pages/templates/style.css",
)
"""Files of the package that are no Python."""
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def released() -> list[tuple[str, str]]:
    """Version and date of each release in the changelog, the latest first."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    return re.findall(r"^## \[(\d+\.\d+\.\d+)\] – (\d{4}-\d\d-\d\d)$", text, flags=re.MULTILINE)


def test_one_version_everywhere() -> None:
    version, day = released()[0]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert PROJECT["version"] == version == citation["version"]
    assert f"\nVersion {version} · " in (ROOT / "README.md").read_text(encoding="utf-8")
    assert citation["date-released"] == date.fromisoformat(day)


def test_releases_are_in_order_and_each_but_the_latest_left_files() -> None:
    numbers = [tuple(map(int, version.split("."))) for version, _ in released()]
    days = [day for _, day in released()]
    assert numbers == sorted(set(numbers), reverse=True) and days == sorted(days, reverse=True)
    kept = {path.name for path in FIXTURES.iterdir() if path.is_dir() and path.name[0].isdigit()}
    latest, *earlier = (version for version, _ in released())
    assert set(earlier) <= kept <= {latest, *earlier}


def test_the_citation_has_what_its_form_asks_for() -> None:
    """The required keys of the Citation File Format 1.2.0, and the kinds of those that are there."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software"
    assert citation["title"] == PROJECT["name"] and citation["license"] == PROJECT["license"]
    assert all(isinstance(citation[name], str) and citation[name] for name in ("message", "abstract"))
    assert citation["authors"] == [{"name": "regsearch contributors"}]
    assert all(isinstance(word, str) for word in citation["keywords"])
    known = "cff-version message type title abstract authors version date-released license keywords"
    assert set(citation) == set(known.split())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built of a copy of what git has or would have: nothing lands in the checkout."""
    import shutil

    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(PACKAGE, source / "regsearch", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", str(source), "--no-deps", "--no-build-isolation", "-w", str(out)]
    done = subprocess.run([*command, "-q", "--disable-pip-version-check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = out.glob("*.whl")
    return built


@pytest.mark.slow
def test_no_file_of_the_package_is_missing_in_the_wheel(wheel: Path) -> None:
    assert wheel.name == f"regsearch-{PROJECT['version']}-py3-none-any.whl"
    names = set(zipfile.ZipFile(wheel).namelist())
    info = f"regsearch-{PROJECT['version']}.dist-info"
    ours = {f"regsearch/{path.relative_to(PACKAGE).as_posix()}" for path in PACKAGE.rglob("*.py")}
    data = {f"regsearch/{name}" for name in DATA}
    assert {name for name in names if not name.startswith(info)} == ours | data
    assert {f"{info}/METADATA", f"{info}/entry_points.txt", f"{info}/licenses/LICENSE"} <= names


@pytest.mark.slow
def test_the_wheel_runs_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """Unpacked elsewhere: the command answers, and what is no Python is found."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        "import regsearch, pathlib; from regsearch.cli.app import main; import regsearch.core.layers.cells as cells; "
        "from regsearch.pages.page import *; print(pathlib.Path(regsearch.__file__).parent)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(tmp_path / "regsearch")


def test_every_file_that_is_no_python_is_named_here() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert found == set(DATA)
