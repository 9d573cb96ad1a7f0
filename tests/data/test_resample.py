"""Other cuts of training and validation: the same rows, shared out anew, and no test among them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from regsearch.config import DataConfig
from regsearch.data import Manifest, SearchData, join, load_search_data, resample
from regsearch.data.sealing import _cut


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A sealed table of two classes, 3 to 1, each row of the last third there twice."""
    draw = np.random.default_rng(0)
    frame = pd.DataFrame({"a": draw.normal(size=120), "b": draw.normal(size=120), "y": ["n", "n", "n", "p"] * 30})
    frame = pd.concat([frame, frame.tail(40)])
    frame.to_csv(tmp_path / "t.csv", index=False)
    config = DataConfig.model_validate({"source": "csv:t.csv", "task": "classification", "target": "y"})
    _cut(config, str(tmp_path), tmp_path / "data", True)
    return tmp_path / "data"


def rows(x: Any, y: Any) -> list[bytes]:
    return sorted(np.asarray(row).tobytes() + np.asarray(label).tobytes() for row, label in zip(x, y, strict=True))


def both(found: SearchData) -> list[bytes]:
    return sorted(rows(found.train_x, found.train_y) + rows(found.validation_x, found.validation_y))


def test_a_resample_shares_out_the_same_rows(data: Path, tmp_path: Path) -> None:
    own = load_search_data(data)
    cuts = []
    for seed in (1, 2, 1):
        manifest = resample(data, tmp_path / "cut", seed)
        found = load_search_data(tmp_path / "cut")
        assert both(found) == both(own)
        train, validation = set(rows(found.train_x, found.train_y)), set(rows(found.validation_x, found.validation_y))
        assert not train & validation, "equal rows stay on one side"
        assert len(found.train_y) == len(own.train_y) == manifest.sizes["train"]
        counts = [np.bincount(np.asarray(each.validation_y)) for each in (own, found)]
        assert abs(counts[0] - counts[1]).max() <= 2, "classes keep their shares"
        assert Manifest.load(tmp_path / "cut") == manifest
        assert sorted(path.name for path in (tmp_path / "cut").iterdir()) == [
            "manifest.json",
            "train_x.npy",
            "train_y.npy",
            "validation_x.npy",
            "validation_y.npy",
        ]
        cuts.append(rows(found.train_x, found.train_y))
    assert cuts[0] == cuts[2] != cuts[1] and rows(own.train_x, own.train_y) not in cuts


def test_joined_rows_all_train(data: Path, tmp_path: Path) -> None:
    own = load_search_data(data)
    manifest = join(data, tmp_path / "all")
    found = load_search_data(tmp_path / "all")
    assert rows(found.train_x, found.train_y) == both(own)
    assert manifest.sizes["train"] == len(own.train_y) + len(own.validation_y)
    assert rows(found.validation_x, found.validation_y) == rows(own.validation_x, own.validation_y)
