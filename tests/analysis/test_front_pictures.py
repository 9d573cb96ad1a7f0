from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.image import imread

from regsearch.analysis.front_pictures import pareto_front
from regsearch.analysis.pareto import front


@pytest.mark.parametrize(("objectives", "trials"), [(2, 80), (2, 1), (3, 80), (4, 30)])
def test_fronts_are_drawn_within_their_edges(objectives: int, trials: int, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    names = ("val_loss", "gap", "sparsity", "epochs")[:objectives]
    directions = ["maximize" if name == "sparsity" else "minimize" for name in names]
    loss = 0.3 + random.random(trials)
    points = np.stack([loss, 0.2 / loss + 0.3 * random.random(trials), *random.random((2, trials))], 1)[:, :objectives]
    broken = {number for number in range(trials) if points[number, 1] > 0.45} if trials > 1 else set()
    kept = [number for number in range(trials) if number not in broken]
    best = [kept[index] for index in front(points[kept].tolist(), directions)]
    values = dict(enumerate(points.tolist()))
    svg, png = pareto_front(values, names, directions, best, broken, tmp_path / f"front{objectives}{trials}")
    assert ElementTree.parse(svg).getroot().tag.endswith("svg")
    picture = imread(png)[:, :, :3]
    assert all((edge == 1).all() for edge in (picture[:3], picture[-3:], picture[:, :3], picture[:, -3:]))
    blue = np.abs(np.round(picture * 255).astype(int) - (0x00, 0x72, 0xB2)).max(axis=2) <= 2
    assert blue.sum() > 100 * min(3, len(best))
