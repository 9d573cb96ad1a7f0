"""A saved trial on disk, with its SHA-256 beside it: read back to the bit, or refused.

`12-3.pt` has `12-3.pt.sha256` beside it, a line as `sha256sum --check` reads it. Without it `torch.load` takes most
files with one bit flipped for sound, and gives other weights.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from regsearch.core.pack import Load, Saved
from regsearch.trial import Stage

_DIGEST, _BESIDE = ".sha256", ".part"


class SnapshotError(RuntimeError):
    """Say which file is no sound snapshot, in one line. Its trial is trained again from its seed."""


def write(path: str | Path, saved: Saved, stages: Sequence[Stage] = ()) -> None:
    """Write a trial and its digest durably: beside, to disk, renamed. A kill leaves the old snapshot or the new one.

    Args:
        stages: how its weights came about, see `regsearch.trial.Trial.stages`.

    Raises:
        OSError: the disk is full or cannot be written; what stood at `path` stays as it was.
    """
    path = Path(path)
    buffer = io.BytesIO()
    load = {"number": saved.load.number, "params": dict(saved.load.params), "seed": saved.load.seed}
    past = [stage.to_json() for stage in stages]
    torch.save({"load": load, "epoch": saved.epoch, "rows": list(saved.rows), "stages": past}, buffer)
    content, digest = buffer.getvalue(), _digest(path)
    beside = [(_beside(path), content), (_beside(digest), _line(path, content))]
    try:
        for file, data in beside:
            _write_through(file, data)
    except OSError:
        for file, _ in beside:
            file.unlink(missing_ok=True)
        raise
    # Between these two a kill leaves the new digest beside: `read` looks there as well.
    os.replace(_beside(path), path)
    os.replace(_beside(digest), digest)
    _sync_folder(path.parent)


def read(path: str | Path) -> tuple[Saved, tuple[Stage, ...]]:
    """Read the trial that `write` saved, to the bit, and its stages.

    Raises:
        SnapshotError: the file or its digest is missing, cut, or differs in a single bit from what was written.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SnapshotError(f"{path}: the snapshot cannot be read ({error.strerror})") from error
    if _line(path, content) not in _digests(path):
        raise SnapshotError(f"{path}: the snapshot is damaged: its SHA-256 is not the one beside it")
    state = torch.load(io.BytesIO(content), weights_only=True)
    saved = Saved(Load(**state["load"]), state["epoch"], tuple(state["rows"]))
    return saved, tuple(Stage(**each) for each in state["stages"])


def delete(path: str | Path) -> None:
    """Remove a snapshot and what stands beside it; what is not there is no error."""
    path = Path(path)
    for file in (path, _digest(path)):
        file.unlink(missing_ok=True)
        _beside(file).unlink(missing_ok=True)


def _digest(path: Path) -> Path:
    return path.with_name(path.name + _DIGEST)


def _beside(path: Path) -> Path:
    return path.with_name(path.name + _BESIDE)


def _line(path: Path, content: bytes) -> bytes:
    return f"{hashlib.sha256(content).hexdigest()}  {path.name}\n".encode()


def _digests(path: Path) -> Iterator[bytes]:
    """The digest beside, and the one that a kill kept from its place."""
    for file in (_digest(path), _beside(_digest(path))):
        if file.exists():
            yield file.read_bytes()


def _write_through(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
