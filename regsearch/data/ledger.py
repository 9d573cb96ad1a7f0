"""The ledger: every opening of sealed test rows, keyed by the rows themselves, not by the study's name.

The key is the digest of the test rows' marks (`regsearch.data.marks`), so a renamed study, another model, reordered
rows or columns, or another cut of training and validation meet the same page. Beside each page lie the marks of its
rows and those of their raw cells (`regsearch.data.cells`): a study that drops columns, names another target or reads a
file without some columns has a page of its own, and is counted with the others of the same cases. A split with another
seed tests on other rows, some of which may have been opened before, and is told so. Pages of versions that made no
marks of cells are compared by the rows as they were prepared. A ledger belongs to one folder of studies; it is a
memory, not a lock, and whoever deletes it forgets.

Pages have no number of their form: a line is never written again, so nothing in it is ever lost, and one of a later
version that says more, or cannot be read, counts as an opening like any other.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from regsearch.config.words import listed
from regsearch.data.cells import Cells, shared_rows
from regsearch.data.manifest import Manifest, load_array, refuse_changed
from regsearch.errors import UserError
from regsearch.system.files import JsonObject
from regsearch.system.guard import SEALED, lifted

_UNREADABLE = "a line that cannot be read"


@dataclass(frozen=True)
class Opened:
    """How often test rows have been opened.

    Args:
        times: for how many different decisions these very cases were, whichever of their columns were used.
        others: for how many decisions other splits were that share cases with these.
        share: of these cases, the share that other splits have tested on.
        by: the studies that opened these very cases, by name.
    """

    times: int
    others: int = 0
    share: float = 0.0
    by: tuple[str, ...] = ()

    def __str__(self) -> str:
        words = f"test opened {_times(self.times)}"
        if len(self.by) > 1:
            words += f" (by {listed(self.by)})"
        if not self.others:
            return words
        share = f"{100 * self.share:.0f} %" if self.share >= 0.005 else "under 1 %"
        return f"{words}; {share} of its rows were in other tests too, opened {_times(self.others)}"

    def to_json(self) -> JsonObject:
        """Give the openings as plain JSON."""
        return asdict(self)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def openings(ledger: Path, digest: str) -> list[JsonObject]:
    """List the openings of the rows with this digest, and of the same cases with other columns, oldest first.

    A torn last line does not count: nothing is opened before its line is whole. A whole line that cannot be read, as
    an edit may leave one, counts as an opening of its own.
    """
    pages = [digest, *(each.digest for each in _others(ledger, digest) if each.same)]
    lines = [line for page in pages for line in _lines(ledger, page)]
    return sorted(lines, key=lambda line: str(line.get("time", ""))) if pages[1:] else lines


def _lines(ledger: Path, digest: str) -> list[JsonObject]:
    """The lines of one page."""
    path = ledger / f"{digest}.jsonl"
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    return [_opening(line, number) for number, line in enumerate(lines, 1) if line.strip()]


def _opening(line: bytes, number: int) -> JsonObject:
    try:
        opening = json.loads(line)
    except ValueError:
        opening = None
    return opening if isinstance(opening, dict) else {"purpose": _UNREADABLE, "decision": {"line": number}}


def decisions(ledger: Path, digest: str) -> int:
    """Count the different decisions that these rows have been opened for; a study resumed after a kill opens them again
    for its own, and learns nothing new.
    """
    lines = [{key: line.get(key) for key in ("study", "purpose", "decision")} for line in _lines(ledger, digest)]
    return len({json.dumps(line, sort_keys=True) for line in lines})


@dataclass(frozen=True)
class _Other:
    """Another page that shares cases with a page.

    Args:
        shared: which of that page's rows.
        by_cells: whether these are in the order of the cells' marks, or in that of the rows' marks.
        same: whether both are one test.
    """

    digest: str
    shared: np.ndarray
    by_cells: bool
    same: bool


def _others(ledger: Path, digest: str) -> Iterator[_Other]:
    """The other pages that share cases with the rows of this digest, by the marks that both pages have."""
    rows, cells = _marks(ledger / f"{digest}.npy"), Cells.read(ledger / f"{digest}.npz")
    for page in sorted(ledger.glob("*.npy")) if rows is not None and len(rows) else ():
        other = None if page.stem == digest else _marks(page)
        if rows is None or other is None:
            continue
        shared, by_cells, same = np.isin(rows, other), False, False
        others = None if cells is None else Cells.read(page.with_suffix(".npz"))
        if cells is not None and others is not None:
            here, there = shared_rows(cells, others)
            same = bool(here.all() and there.all())
            by_cells = same or bool(here.mean() >= shared.mean())
            shared = here if by_cells else shared
        if shared.any():
            yield _Other(page.stem, shared, by_cells, same)


def opened(ledger: Path, digest: str) -> Opened:
    """Count how often the cases of the rows with this digest have been opened, by themselves and in part."""
    pages = list(_others(ledger, digest))
    here = [digest, *(page.digest for page in pages if page.same)]
    times = sum(decisions(ledger, page) for page in here)
    parts = [page for page in pages if not page.same]
    orders = [[page.shared for page in parts if page.by_cells == by_cells] for by_cells in (True, False)]
    share = max((float(np.any(order, axis=0).mean()) for order in orders if order), default=0.0)
    studies = {line.get("study") for page in here for line in _lines(ledger, page)}
    names = tuple(sorted(name for name in studies if isinstance(name, str)))
    return Opened(times, sum(decisions(ledger, page.digest) for page in parts), share, names)


def _marks(file: Path) -> np.ndarray | None:
    try:
        return np.asarray(np.load(file, allow_pickle=False))
    except (OSError, ValueError):
        return None


def open_test(
    data: Path, ledger: Path, study: str, purpose: str, decision: JsonObject
) -> tuple[np.ndarray, np.ndarray]:
    """Write what was decided to the ledger, then read the sealed rows: x [N, F...], y [N].

    Every opening gets its line, also that of a resumed study which decides as before; `decisions` counts those once.

    Raises:
        UserError: the split holds no test rows, or they are damaged.
    """
    manifest = Manifest.load(data)
    if not manifest.sizes["test"]:
        raise UserError("the split has no test rows", key="data.split.test", value=0.0, allowed="say finalize.seeds: 0")
    with lifted():
        refuse_changed(data, sealed=True)
    line = {"study": study, "purpose": purpose, "decision": decision}
    ledger.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**line, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())})
    _append(ledger / f"{manifest.test_digest}.jsonl", text)
    with lifted():
        for file, end in (("test_rows.npy", ".npy"), ("test_cells.npz", ".npz")):
            _keep_marks(data / SEALED / file, ledger / f"{manifest.test_digest}{end}")
        return load_array(data / SEALED / "test_x.npy"), load_array(data / SEALED / "test_y.npy")


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


def _keep_marks(sealed: Path, copy: Path) -> None:
    """Lay the rows' marks beside their page; splits sealed by versions that made none have none."""
    if copy.exists() or not sealed.exists():
        return
    aside = copy.with_name(f".{copy.name}.{os.getpid()}")
    aside.touch(mode=0o600)
    aside.write_bytes(sealed.read_bytes())
    os.replace(aside, copy)
