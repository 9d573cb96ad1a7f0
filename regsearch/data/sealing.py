"""Seal a split: a short-lived child process reads the source, cuts it and writes the parts.

The parent gets a manifest; test rows never enter it. They are written once, by the start of a study; whoever only
looks (a dry run, `study cost`, a resumed study that compares digests) has none written. Parts are written beside and
renamed as a whole, so a folder with a manifest is complete.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from regsearch.data.manifest import Manifest
from regsearch.data.rules import TODAY, CutRules
from regsearch.errors import UserError
from regsearch.system.forking import UNGUARDED, describe_end, start, was_killed
from regsearch.system.garbage import importing
from regsearch.system.guard import SEALED
from regsearch.system.sums import write_sums

if TYPE_CHECKING:
    from regsearch.config import DataConfig
    from regsearch.data.parts import Parts
    from regsearch.data.sources import Table


def seal(config: DataConfig, folder: str, out: Path, *, test: bool = True, like: Manifest | None = None) -> Manifest:
    """Cut the split of a study file in `folder` into `out`; an earlier one there is replaced.

    Args:
        test: write the test rows too; without them the manifest is the same.
        like: how the same data were sealed before: they are cut as its version did, to be compared with it.

    Raises:
        UserError: the source, the target or the split cannot be used.
    """
    with sealing(config, folder, out, test=test, like=like) as sealed:
        return sealed()


@contextlib.contextmanager
def sealing(
    config: DataConfig, folder: str, out: Path, *, test: bool = True, like: Manifest | None = None
) -> Iterator[Callable[[], Manifest]]:
    """Run `seal` in a process of its own that ends with the context; gives a function that waits for it.

    Raises:
        UserError: by that function: the source, the target or the split cannot be used.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    ours, theirs = multiprocessing.Pipe()
    given = config, folder, out, test, TODAY if like is None else like.rules
    unheard = Path(os.devnull)  # what libraries and the author's own code print
    process = start(_serve, theirs, *given, output=unheard, name="regs-sealing")
    theirs.close()

    def sealed() -> Manifest:
        try:
            answer = ours.recv()
        except EOFError:
            process.join()
            raise _ended(process.exitcode) from None
        if isinstance(answer, dict):
            raise UserError(**answer)
        if answer is not None:
            raise RuntimeError(f"sealing the data failed:\n{answer}")
        return Manifest.load(out)

    try:
        yield sealed
    finally:
        process.kill()
        process.join()
        ours.close()


def _ended(code: int | None) -> Exception:
    if code == UNGUARDED:
        what = "the processes of a study import this script, which would start the study again"
        allowed = 'put what it does below `if __name__ == "__main__":`'
        return UserError(what, file=Path(sys.argv[0]).name, allowed=allowed)
    what = f"the process that seals the data {describe_end(code)}"
    if was_killed(code):
        return UserError(what, allowed="start again; where memory is short the system ends a process so")
    return RuntimeError(what)


def verify_digest(config: DataConfig, folder: str, out: Path) -> None:
    """Refuse data that changed since it was sealed in `out`. They are cut again beside it, without the test rows.

    Raises:
        UserError: the digest differs, or the manifest of what was sealed is damaged.
    """
    known = Manifest.load(out)  # refused before the data are cut, which takes a while
    again = out.with_name(f"{out.name}.check")
    try:
        now = seal(config, folder, again, test=False, like=known).digest
    finally:
        shutil.rmtree(again, ignore_errors=True)
    if now != known.digest:
        raise UserError(
            "the data changed since the study began",
            key="data.source",
            value=config.source,
            allowed="bring the old data back, or start anew with --replace",
        )


def _cut(config: DataConfig, folder: str, out: Path, test: bool, rules: CutRules = TODAY) -> None:
    from regsearch.data.sources import load_table

    table = load_table(config, folder)
    _check_target(table, config)

    # A table that is refused need not wait for scikit-learn.
    from regsearch.data.cells import cells_of_test
    from regsearch.data.marks import digest as digest_of
    from regsearch.data.marks import marks_of_test
    from regsearch.data.parts import make_parts
    from regsearch.data.split import PARTS

    parts = make_parts(table, config, rules)
    about = {"written": {}, **parts.about, **dict.fromkeys(rules.unsaid)}
    digest, marks = hashlib.sha256(), marks_of_test(table, parts)
    digest.update(json.dumps([config.source, table.target, table.task]).encode())
    aside = out.with_name(f"{out.name}.part")
    into = _Folder(aside)
    for part in PARTS:
        _write_part(into, parts, part, digest, test)
    if test and len(marks):
        into.save(f"{SEALED}/test_rows.npy", marks, mode=0o600)
        with into.file(f"{SEALED}/test_cells.npz", 0o600) as file:
            cells_of_test(table, parts).write(file)
    manifest = Manifest(
        digest=digest.hexdigest(),
        test_digest=digest_of(marks),
        source=config.source,
        task=table.task,
        target=table.target,
        inputs=tuple(parts.x["train"].shape[1:]),
        sizes={part: len(parts.x[part]) for part in PARTS},
        split=config.split.model_dump(mode="json"),
        preprocessing=parts.preprocessing,
        dtype=str(parts.x["train"].dtype),
        **about,
    )
    into.write("example.json", json.dumps(parts.example))
    into.write("manifest.json", manifest.to_json())
    write_sums(aside, into.sums)
    shutil.rmtree(out, ignore_errors=True)
    os.replace(aside, out)


class _Folder:
    """A new folder whose files are on disk once they are written, with the sum of each."""

    def __init__(self, path: Path) -> None:
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        (path / SEALED).mkdir(mode=0o700)
        self.path = path
        self.sums: dict[str, str] = {}

    @contextlib.contextmanager
    def file(self, name: str, mode: int = 0o644) -> Iterator[IO[bytes]]:
        """A new file."""
        with open(os.open(self.path / name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, mode), "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            file.seek(0)
            self.sums[name] = hashlib.file_digest(file, "sha256").hexdigest()

    def save(self, name: str, array: np.ndarray, mode: int = 0o644) -> None:
        with self.file(name, mode) as file:
            np.save(file, array)

    def write(self, name: str, text: str) -> None:
        with self.file(name) as file:
            file.write(text.encode())


def _write_part(folder: _Folder, parts: Parts, part: str, digest: hashlib._Hash, test: bool) -> None:
    """Write the arrays of one part, the test's only with `test`; the digest takes in all of them and their rows."""
    for name, arrays in (("x", parts.x), ("y", parts.y)):
        array = np.ascontiguousarray(arrays[part])
        digest.update(array.tobytes())
        if part != "test":
            folder.save(f"{part}_{name}.npy", array)
        elif test and len(array):
            folder.save(f"{SEALED}/{part}_{name}.npy", array, mode=0o600)
    digest.update(parts.rows[part].tobytes())


def _refuse_targets(bad: np.ndarray, what: str, table: Table) -> None:
    if bad.any():
        rows = f"{int(bad.sum())} of {len(bad)} rows, first in row {int(np.flatnonzero(bad)[0]) + 1}"
        allowed = "every row needs one: fill it in, or leave the row out"
        raise UserError(f"the target is {what} in {rows}", key="data.target", value=table.target, allowed=allowed)


def _check_target(table: Table, config: DataConfig) -> None:
    import pandas as pd

    from regsearch.data.arrays import LARGEST

    values = table.y
    numeric = pd.api.types.is_numeric_dtype(values)
    if table.task in ("regression", "forecasting", "recommendation") and not numeric:
        allowed = "for a target of classes say task: classification"
        what = f"a {table.task} target must hold numbers"
        raise UserError(what, key="data.target", value=table.target, allowed=allowed)
    bad = values.isna().to_numpy()
    if numeric:
        sizes = np.abs(values.to_numpy(dtype=np.float64, na_value=np.nan))
        _refuse_targets((sizes > LARGEST) & np.isfinite(sizes), f"beyond ±{LARGEST:.2g}", table)
        bad = bad | ~np.isfinite(sizes)
    _refuse_targets(bad, "missing or not finite", table)
    if config.classes is not None:
        outside = np.flatnonzero(~values.isin(config.classes).to_numpy())
        if len(outside):
            row, label = int(outside[0]), values.iloc[int(outside[0])]
            what = f"label {label} in row {row + 1} is outside the classes, {len(outside)} of {len(values)} rows are"
            allowed = "allowed are " + ", ".join(map(str, config.classes))
            raise UserError(what, key="data.target", value=table.target, allowed=allowed)
    if table.task == "classification":
        counts = values.value_counts()
        if counts.min() < 3:
            rows = "1 row" if counts.min() == 1 else f"{counts.min()} rows"
            raise UserError(
                f"class {counts.idxmin()} has {rows}",
                key="data.target",
                value=table.target,
                allowed="every class needs at least three rows: one each to train, validate and test",
            )
        if len(counts) < 2:
            allowed = "a classification needs at least two"
            raise UserError("the target has a single class", key="data.target", value=table.target, allowed=allowed)


def _serve(pipe: Connection, config: DataConfig, folder: str, out: Path, test: bool, rules: CutRules) -> None:
    """Cut and write the parts; sends None, the fields of a refusal, or the text of a failure."""
    try:
        with importing():
            _cut(config, folder, out, test, rules)
    except UserError as error:
        fields = {name: getattr(error, name) for name in ("what", "file", "key", "value", "allowed")}
        pipe.send({k: v if isinstance(v, int | float) or v is None else str(v) for k, v in fields.items()})
    except Exception:
        pipe.send(traceback.format_exc()[-2000:])
    else:
        pipe.send(None)
