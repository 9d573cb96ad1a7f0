from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.image import imread

from regsearch.analysis.importance import importance
from regsearch.analysis.knob_pictures import pictures
from tests.analysis.planted import STRENGTHS, planted

BLUE, ORANGE = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)


def _pixels(png: Path, colour: tuple[int, int, int]) -> int:
    picture = np.round(imread(png)[:, :, :3] * 255).astype(int)
    return int((np.abs(picture - colour).max(axis=2) <= 2).sum())


@pytest.mark.parametrize("choose", ["any", "one"])
def test_all_there_is_gets_drawn_within_its_edges(choose: str, tmp_path: Path) -> None:
    trials = planted(60, choose)
    if choose == "one":
        trials = trials.drop(columns="train.learning_rate")
        trials["dropout.p"] = trials["dropout.p"].where(trials["dropout.p"].isna(), 0.5)
    files = pictures(importance(trials, STRENGTHS), tmp_path / "new")
    names = ["importance", "dependence"] + (["interaction"] if choose == "any" else [])
    assert [each.name for each in files] == [f"{name}.{kind}" for name in names for kind in ("svg", "png")]
    for svg, png in zip(files[::2], files[1::2], strict=True):
        assert ElementTree.parse(svg).getroot().tag.endswith("svg")
        picture = imread(png)[:, :, :3]
        assert all((edge == 1).all() for edge in (picture[:3], picture[-3:], picture[:, :3], picture[:, -3:])), png
    assert all(_pixels(png, colour) > 200 for png in files[1:4:2] for colour in (BLUE, ORANGE))


def test_a_bar_is_as_long_as_its_share(tmp_path: Path) -> None:
    found = importance(planted(60), STRENGTHS)
    (_, png, *_) = pictures(found, tmp_path)
    picture = np.round(imread(png)[:, :, :3] * 255).astype(int)
    widths = (np.abs(picture - BLUE).max(axis=2) <= 2).sum(axis=1)
    starts = np.flatnonzero(np.diff((widths > 0).astype(int)) > 0) + 1
    first, second = (int(widths[start + 3]) for start in starts[:2])
    shares = list(found.loss.values())
    assert second / first == pytest.approx(shares[1] / shares[0], abs=0.02)
