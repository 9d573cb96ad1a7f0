"""The ledger knows test rows again, whatever the study is called and however the table is laid out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from regsearch.config import DataConfig
from regsearch.data import Manifest, Opened, check_rows, decisions, open_test, opened, openings
from regsearch.data.sealing import _cut
from regsearch.errors import UserError
from regsearch.system.guard import guarded


def table(rows: int = 240) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    part = np.repeat(["train", "validation", "test"], [120, 60, 60])
    frame = pd.DataFrame({"b": draw.integers(0, 99, rows), "a": draw.normal(size=rows), "part": part})
    return frame.assign(kind=np.where(frame["a"] > 0, "x", "y"), y=draw.normal(size=rows))


def cut(folder: Path, frame: pd.DataFrame, by: Any = None, **split: Any) -> Manifest:
    """Sealed in this process: what the child would write."""
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_csv(folder / "t.csv", index=False)
    asked = {"by": by or {"column": "part"}, **split}
    config = DataConfig.model_validate({"source": "csv:t.csv", "task": "regression", "target": "y", "split": asked})
    _cut(config, str(folder), folder / "data", True)
    return Manifest.load(folder / "data")


def test_the_key_is_of_the_rows(tmp_path: Path) -> None:
    frame = table()
    first = cut(tmp_path / "a", frame)
    shuffled = frame.sample(frac=1, random_state=1)[["y", "kind", "part", "a", "b"]]
    assert cut(tmp_path / "b", shuffled).test_digest == first.test_digest, "reordered rows and columns"
    other_training = pd.concat([frame, frame[frame["part"] == "train"].assign(a=9.0)])
    assert cut(tmp_path / "c", other_training).test_digest == first.test_digest, "other training rows, other scaling"
    floats = frame.astype({"b": float})
    assert cut(tmp_path / "d", floats).test_digest == first.test_digest, "whole numbers written as 1.0"
    for column, value in (("y", 0.5), ("a", 0.5), ("kind", "z")):
        changed = frame.copy()
        changed.loc[239, column] = value
        assert cut(tmp_path / "e", changed).test_digest != first.test_digest, column


def test_other_splits_of_the_same_rows_are_told_of(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    digests = []
    for seed in (0, 1):
        manifest = cut(tmp_path / str(seed), table().drop(columns="part"), by="random", seed=seed)
        digests.append(manifest.test_digest)
        assert opened(ledger, manifest.test_digest) == Opened(0)
        open_test(tmp_path / str(seed) / "data", ledger, f"s{seed}", "finals", {"winner": 1})
    rows = [set(np.load(ledger / f"{digest}.npy")) for digest in digests]
    share = len(rows[0] & rows[1]) / len(rows[1])
    assert digests[0] != digests[1] and 0 < share < 1
    assert opened(ledger, digests[1]) == Opened(1, 1, share, ("s1",))
    assert str(Opened(1, 2, 0.4)) == "test opened once; 40 % of its rows were in other tests too, opened 2 times"
    assert str(Opened(3)) == str(Opened(3, by=("a",))) == "test opened 3 times"
    assert str(Opened(3, by=("a", "b", "c"))) == "test opened 3 times (by a, b and c)"


def test_torn_and_edited_lines(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    digest = cut(tmp_path / "s", table()).test_digest
    for study in ("a", "b"):
        open_test(tmp_path / "s" / "data", ledger, study, "finals", {"winner": 1})
    page = ledger / f"{digest}.jsonl"
    whole = page.read_bytes()
    page.write_bytes(whole + b'{"study": "c", "purp')
    assert decisions(ledger, digest) == 2, "what was torn was never opened"
    open_test(tmp_path / "s" / "data", ledger, "d", "finals", {"winner": 1})
    assert [each["study"] for each in openings(ledger, digest)] == ["a", "b", "d"]
    page.write_bytes(page.read_bytes().replace(b'"study": "a"', b'"study": "a') + b"[1]\n\n")
    assert len(openings(ledger, digest)) == 4 == decisions(ledger, digest), "lines that were edited count"
    page.write_bytes(b"\xff\xfe\n\x00\n")
    assert decisions(ledger, digest) == 2
    (ledger / f"{digest}.npy").write_bytes(b"no array")
    assert opened(ledger, digest) == Opened(2)
    open_test(tmp_path / "s" / "data", ledger, "e", "finals", {"winner": 1})
    assert opened(ledger, digest) == Opened(3, by=("e",)), "and lines that cannot be read name nobody"


def test_a_guarded_process_opens_no_test_but_by_the_ledger(tmp_path: Path) -> None:
    cut(tmp_path / "s", table())
    data = tmp_path / "s" / "data"
    for file in ("test_x.npy", "test_y.npy", "test_rows.npy"):
        with guarded(), pytest.raises(PermissionError, match="only finals open it"):
            np.load(data / "sealed" / file)
        with guarded(), pytest.raises(PermissionError, match="only finals open it"):
            (data / "sealed" / file).read_bytes()
    assert not (tmp_path / "ledger").exists()
    with guarded():
        x, y = open_test(data, tmp_path / "ledger", "s", "finals", {"winner": 1})
        with pytest.raises(PermissionError):
            np.load(data / "sealed" / "test_y.npy")
    np.testing.assert_array_equal(y, np.load(data / "sealed" / "test_y.npy"))
    assert len(x) == 60


def test_whoever_only_looks_has_no_test_written(tmp_path: Path) -> None:
    frame = table()
    manifest = cut(tmp_path / "s", frame)
    config = DataConfig.model_validate(
        {"source": "csv:t.csv", "task": "regression", "target": "y", "split": {"by": {"column": "part"}}}
    )
    _cut(config, str(tmp_path / "s"), tmp_path / "look", False)
    assert Manifest.load(tmp_path / "look") == manifest, "digests included"
    assert not list((tmp_path / "look" / "sealed").iterdir())
    sealed = tmp_path / "s" / "data" / "sealed"
    assert oct(sealed.stat().st_mode & 0o777) == "0o700"
    assert {oct(file.stat().st_mode & 0o777) for file in sealed.iterdir()} == {"0o600"}


@pytest.mark.parametrize("file", ["train_x.npy", "validation_y.npy", "example.json", "sealed/test_y.npy"])
def test_files_that_were_changed_are_refused_before_the_test_is_opened(file: str, tmp_path: Path) -> None:
    """One bit, which no shape tells."""
    cut(tmp_path / "s", table())
    data, ledger = tmp_path / "s" / "data", tmp_path / "ledger"
    check_rows(data)
    content = bytearray((data / file).read_bytes())
    content[-1] ^= 1
    (data / file).write_bytes(content)
    with pytest.raises(UserError, match=f"{file}: is damaged: its content is not what was sealed"):
        open_test(data, ledger, "s", "finals", {"winner": 1}) if "sealed" in file else check_rows(data)
    assert not ledger.exists()
    (data / "SHA256SUMS").unlink()  # as earlier versions left it
    check_rows(data)
    assert len(open_test(data, ledger, "s", "finals", {"winner": 1})[1]) == 60
