"""Files are whole or not there, and what cannot be written is one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from regsearch.errors import UserError
from regsearch.system.files import write_asked, write_json, write_whole


def test_a_file_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "told.txt"
    write_whole(path, "first\n")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            write_whole(path, "second\n")
        with pytest.raises(UserError, match=r"^--out: cannot be written: No space left on device \(got '.*told.txt'\)"):
            write_asked(path, "second\n", "--out")
        with pytest.raises(UserError, match=r"cannot be written \(No space left on device\); make room$") as raised:
            write_asked(path, "second\n", None)
        assert raised.value.file == tmp_path
    assert path.read_bytes() == b"first\n" and os.listdir(tmp_path) == ["told.txt"]
    write_json(path, {"é": [1, None]})
    assert path.read_text(encoding="utf-8") == '{\n "\\u00e9": [\n  1,\n  null\n ]\n}'


def test_what_a_kill_left_open_to_all_holds_no_secret(tmp_path: Path) -> None:
    left = tmp_path / "study.json.part"
    left.write_text("half")
    left.chmod(0o644)
    write_whole(tmp_path / "study.json", "a password", 0o600)
    assert (tmp_path / "study.json").stat().st_mode & 0o777 == 0o600 and not left.exists()


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"No such file or directory.*; name a file in a folder that is there"):
        write_asked(tmp_path / "no" / "page.html", "", "--html")
