"""The ledger: every opening of sealed test rows, keyed by the rows themselves, not by the study's name.

The key is the digest of the test rows' marks (`regsearch.data.marks`), so a renamed study, another model, reordered
rows or columns, or another cut of training and validation meet the same page. Beside each page lie the marks of its
rows: a split with another seed tests on other rows, some of which may have been opened before, and is told so. A
ledger belongs to one folder of studies; it is a memory, not a lock, and whoever deletes it forgets.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from regsearch.data.manifest import Manifest
from regsearch.errors import UserError
from regsearch.system.guard import SEALED, lifted

_UNREADABLE = "a line that cannot be read"


@dataclass(frozen=True)
class Opened:
    """How often test rows have been opened.

    Args:
        times: for how many different decisions these very rows were.
        others: for how many decisions other splits were that share rows with these.
        share: of these rows, the share that other splits have tested on.
    """

    times: int
    others: int = 0
    share: float = 0.0

    def __str__(self) -> str:
        words = f"test opened {_times(self.times)}"
        if not self.others:
            return words
        share = f"{100 * self.share:.0f} %" if self.share >= 0.005 else "under 1 %"
        return f"{words}; {share} of its rows were in other tests too, opened {_times(self.others)}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def openings(ledger: Path, digest: str) -> list[dict[str, Any]]:
    """What the ledger holds of the rows with this digest, oldest first.

    A torn last line does not count: nothing is opened before its line is whole. A whole line that cannot be read, as
    an edit may leave one, counts as an opening of its own.
    """
    path = ledger / f"{digest}.jsonl"
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    return [_opening(line, number) for number, line in enumerate(lines, 1) if line.strip()]


def _opening(line: bytes, number: int) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"purpose": _UNREADABLE, "decision": {"line": number}}


def decisions(ledger: Path, digest: str) -> int:
    """For how many different decisions these rows have been opened; a study resumed after a kill opens them again for
    its own, and learns nothing new."""
    told = [{key: each.get(key) for key in ("study", "purpose", "decision")} for each in openings(ledger, digest)]
    return len({json.dumps(each, sort_keys=True) for each in told})


def opened(ledger: Path, digest: str) -> Opened:
    """How often the rows with this digest have been opened, by themselves and in part."""
    own = _marks(ledger / f"{digest}.npy")
    others, shared = 0, np.zeros(0 if own is None else len(own), dtype=bool)
    for file in sorted(ledger.glob("*.npy")) if own is not None and len(own) else ():
        marks = None if file.stem == digest else _marks(file)
        if own is None or marks is None:
            continue
        common = np.isin(own, marks)
        if common.any():
            others += decisions(ledger, file.stem)
            shared |= common
    return Opened(decisions(ledger, digest), others, float(shared.mean()) if others else 0.0)


def _marks(file: Path) -> np.ndarray[Any, Any] | None:
    try:
        return np.asarray(np.load(file, allow_pickle=False))
    except (OSError, ValueError):
        return None


def open_test(
    data: Path, ledger: Path, study: str, purpose: str, decision: dict[str, Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Write what was decided to the ledger, then read the sealed rows: x [N, F...], y [N].

    Every opening gets its line, also that of a resumed study which decides as before; `decisions` counts those once.

    Raises:
        UserError: the split holds no test rows.
    """
    manifest = Manifest.load(data)
    if not manifest.sizes["test"]:
        raise UserError("the split has no test rows", key="data.split.test", value=0.0, allowed="say finalize.seeds: 0")
    line = {"study": study, "purpose": purpose, "decision": decision}
    ledger.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**line, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())})
    _append(ledger / f"{manifest.test_digest}.jsonl", text)
    with lifted():
        _keep_marks(data / SEALED / "test_rows.npy", ledger / f"{manifest.test_digest}.npy")
        return np.load(data / SEALED / "test_x.npy"), np.load(data / SEALED / "test_y.npy")


def _append(path: Path, text: str) -> None:
    """Add a line and wait until it is on disk; a torn one before it was never acknowledged, and goes."""
    with open(path, "a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        whole = file.read()
        if whole and not whole.endswith(b"\n"):
            file.truncate(whole.rfind(b"\n") + 1)
        file.write(f"{text}\n".encode())
        file.flush()
        os.fsync(file.fileno())


def _keep_marks(sealed: Path, kept: Path) -> None:
    """Lay the rows' marks beside their page; splits sealed by versions that made none have none."""
    if kept.exists() or not sealed.exists():
        return
    aside = kept.with_name(f".{kept.name}.{os.getpid()}")
    aside.write_bytes(sealed.read_bytes())
    os.replace(aside, kept)
