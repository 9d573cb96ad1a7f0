"""What a sealed split is, and how the search opens its part of it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from regsearch.config.data import Task
from regsearch.config.fields import Count, Natural
from regsearch.data.rules import CutRules
from regsearch.system import documents, schema
from regsearch.system.files import JsonObject
from regsearch.system.guard import SEALED
from regsearch.system.sums import SUMS, read_sums, sum_of


@dataclass(frozen=True)
class _Sizes:
    train: Natural
    validation: Natural
    test: Natural


@dataclass(frozen=True)
class _Closer:
    """What the types of a manifest leave open."""

    task: Task
    sizes: _Sizes
    inputs: list[Count]
    outputs: Count
    dtype: Literal["float32", "int64"] = "float32"


@dataclass(frozen=True)
class Manifest:
    """A sealed split.

    Args:
        digest: SHA-256 over the source, the target and every row of every part; `test_digest` over the sealed rows
        alone, as they were before preprocessing and whatever their order; see `regsearch.data.marks`.
        inputs: the shape of one row of x. `outputs`: classes, tokens, or values that a row predicts.
        preprocessing: for tables, see `regsearch.data.columns`; None for arrays.
        classes: the labels in the order of their codes; for clustering those of the known groups.
        target_mean, target_scale: of the training rows, for tasks that predict values; else None.
        dtype: of x: `float32`, or `int64` for codes, and then `vocabulary` says how many each position counts over:
        one number for texts, (users, items) for ratings.
        auc: as the study file says; see `regsearch.tasks.Classification`.
        far: by column, how many validation values lie far beyond the training rows, see
        `regsearch.data.preprocess.far_values`; None in manifests of versions that did not count them.
        rows, left_out: how many rows the source gave, and those that are in no part by what leaves them out, see
        `regsearch.data.split.left_out`; None in manifests of regsearch 0.2.0 and earlier, which left out more.
        dates: by column of dates that became categories, how many values it has.
        filled: by column, how many training rows lack a value, see `regsearch.data.preprocess.filled_values`; None in
        manifests of versions that did not count them.
        written: by column of numbers that are written as texts, one of them from a training row, empty where all are
        plain; None in manifests of versions that left such columns as words.
    """

    digest: str
    test_digest: str
    source: str
    task: str
    target: str
    inputs: tuple[int, ...]
    outputs: int
    sizes: dict[str, int]
    split: JsonObject
    preprocessing: JsonObject | None = None
    classes: list[object] | None = None
    target_mean: float | None = None
    target_scale: float | None = None
    dtype: str = "float32"
    vocabulary: list[int] | None = None
    auc: bool | None = None
    far: dict[str, int] | None = None
    rows: int | None = None
    left_out: dict[str, int] | None = None
    dates: dict[str, int] | None = None
    filled: dict[str, int] | None = None
    written: dict[str, str] | None = None

    @property
    def rules(self) -> CutRules:
        """How these data are cut, told by the fields that earlier versions did not have."""
        return CutRules(self.left_out is not None, self.written is not None)

    def to_json(self) -> str:
        """Write it as the text of `manifest.json`."""
        return json.dumps({schema.KEY: schema.MANIFEST, **asdict(self)}, indent=1)

    @classmethod
    def from_json(cls, text: str | bytes, file: Path | str | None = None) -> Manifest:
        """Read what `to_json` wrote; a field that it does not write is refused.

        Args:
            file: it stands in, named in what is refused.

        Raises:
            UserError: it has an unknown field, is damaged, or a newer regsearch wrote it.
        """
        data = documents.parse_object(text, schema.MANIFEST, documents.FROM_A_COPY, file)
        documents.check_form(data, cls, documents.FROM_A_COPY, file)
        documents.check_shape(data, _Closer, documents.FROM_A_COPY, file)
        if data.get("dtype") == "int64" and not data.get("vocabulary"):
            raise documents.damaged(file, "codes need it", key="vocabulary")
        return cls(**{**data, "inputs": tuple(data["inputs"])})

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Read the manifest of the sealed split in `folder`.

        Raises:
            UserError: it has an unknown field, is damaged, or a newer regsearch wrote it.
        """
        file = folder / "manifest.json"
        return cls.from_json(documents.read_text(file, documents.FROM_A_COPY), file)


@dataclass(frozen=True)
class SearchData:
    """What a search may see: x [N, F...] float32 or int64, y as the task stores it (see `regsearch.tasks`)."""

    train_x: np.ndarray
    train_y: np.ndarray
    validation_x: np.ndarray
    validation_y: np.ndarray


def load_search_data(folder: Path) -> SearchData:
    """Load training and validation rows; the sealed folder is not touched.

    Raises:
        DamagedFile: some of them are gone or cut.
    """
    names = ("train_x", "train_y", "validation_x", "validation_y")
    return SearchData(*(load_array(folder / f"{name}.npy", mapped=True) for name in names))


def check_rows(folder: Path) -> None:
    """Refuse a sealed split some of whose files are gone, cut or changed; test rows are looked for, not read.

    Raises:
        DamagedFile: names the file, and what to do.
    """
    manifest, known = Manifest.load(folder), load_search_data(folder)
    sizes = manifest.sizes
    for name, rows in vars(known).items():
        file, wanted = folder / f"{name}.npy", sizes[name.rpartition("_")[0]]
        if len(rows) != wanted:
            raise documents.damaged(file, f"it has {len(rows)} rows, and {wanted} were sealed")
        if name.endswith("_x") and (rows.dtype != manifest.dtype or rows.shape[1:] != manifest.inputs):
            what = f"does not fit manifest.json: its rows are {rows.dtype} of shape {rows.shape[1:]}"
            allowed = f"sealed were {manifest.dtype} of shape {manifest.inputs}; {documents.FROM_A_COPY}"
            raise documents.DamagedFile(what, file=file, allowed=allowed)
    for name in ("test_x", "test_y") if sizes["test"] else ():
        file = folder / SEALED / f"{name}.npy"
        if not file.is_file():
            raise documents.DamagedFile("is missing", file=file, allowed=documents.FROM_A_COPY)
    refuse_changed(folder, sealed=False)


def refuse_changed(folder: Path, sealed: bool) -> None:
    """Refuse files of a sealed split that are not as they were written; those of regsearch 0.2.0 and earlier have no
    sums to tell.

    Args:
        sealed: look at the test rows, instead of at all else.

    Raises:
        DamagedFile: names the file, and what to do.
    """
    if not (folder / SUMS).exists():
        return
    try:
        known = read_sums(folder)
    except (OSError, ValueError) as error:
        what = f"is damaged ({error})"
        raise documents.DamagedFile(what, file=folder / SUMS, allowed=documents.FROM_A_COPY) from None
    for name, digest in known.items():
        if name.startswith(f"{SEALED}/") == sealed and _changed(folder / name, digest):
            what = "is damaged: its content is not what was sealed"
            raise documents.DamagedFile(what, file=folder / name, allowed=documents.FROM_A_COPY)


def _changed(file: Path, digest: str) -> bool:
    try:
        return sum_of(file) != digest
    except OSError as error:
        raise documents.unreadable(file, error, documents.FROM_A_COPY) from None


def load_array(file: Path, mapped: bool = False) -> np.ndarray:
    """Load an array of a sealed split.

    Args:
        mapped: leave it on disk until it is used.

    Raises:
        DamagedFile: it is gone, cut, or something else.
    """
    try:
        return np.asanyarray(np.load(file, mmap_mode="r" if mapped else None))
    except OSError as error:
        raise documents.unreadable(file, error, documents.FROM_A_COPY) from None
    except (ValueError, EOFError) as error:
        what = f"is damaged, no array ({error})"
        raise documents.DamagedFile(what, file=file, allowed=documents.FROM_A_COPY) from None
