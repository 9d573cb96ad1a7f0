"""Other cuts of a sealed study's training and validation rows. The sealed test is neither moved nor opened.

Preprocessing stays as it was fitted on the study's own training rows: what a resample varies is which of the prepared
rows train. Rows with equal features stay on one side, and classes keep their shares, as in the study's own split.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from regsearch.data.manifest import Manifest, SearchData, load_search_data
from regsearch.data.split import equal_rows, random_split


def resample(data: Path, out: Path, seed: int) -> Manifest:
    """Cut the training and validation rows in `data` anew into the folder `out`, as many of each as before.

    Data that regsearch 0.2.0 or an earlier one sealed are cut as it did: equal rows that fit nowhere were left out.
    """
    search_data = load_search_data(data)
    x, y = pool(search_data)
    manifest = Manifest.load(data)
    sizes = {"train": len(search_data.train_y), "validation": len(search_data.validation_y), "test": 0}
    strata = y if manifest.task == "classification" else np.zeros(len(y), dtype=np.int64)
    room = 0 if manifest.rules.every_row else None
    rows = random_split(equal_rows(x), strata.astype(np.int64), sizes, seed, room)
    train, validation = (np.sort(rows[part]) for part in ("train", "validation"))
    return _write(out, data, SearchData(x[train], y[train], x[validation], y[validation]))


def join(data: Path, out: Path) -> Manifest:
    """Join training and validation rows as training rows, in the folder `out`; validation rows are there as well, for
    a training loop that measures them. What it measures on them is no estimate of anything.
    """
    search_data = load_search_data(data)
    x, y = pool(search_data)
    return _write(
        out, data, SearchData(x, y, np.asarray(search_data.validation_x), np.asarray(search_data.validation_y))
    )


def pool(data: SearchData) -> tuple[np.ndarray, np.ndarray]:
    """Concatenate all rows that a search may see: x [N, F...], y [N...]."""
    return np.concatenate([data.train_x, data.validation_x]), np.concatenate([data.train_y, data.validation_y])


def _write(out: Path, data: Path, parts: SearchData) -> Manifest:
    """A folder like that of the sealed data, without its test; written beside and renamed as a whole."""
    aside = out.with_name(f"{out.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    for name in ("train_x", "train_y", "validation_x", "validation_y"):
        np.save(aside / f"{name}.npy", np.ascontiguousarray(getattr(parts, name)))
    known = Manifest.load(data)
    sizes = {**known.sizes, "train": len(parts.train_y), "validation": len(parts.validation_y)}
    manifest = replace(known, sizes=sizes)
    (aside / "manifest.json").write_text(manifest.to_json())
    shutil.rmtree(out, ignore_errors=True)
    os.replace(aside, out)
    return manifest
