from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.image import imread

from regsearch.analysis.study_pictures import gap_against_loss, learning_curves
from regsearch.errors import UserError
from tests.analysis.trials import STRENGTHS, frame

BLUE, ORANGE, GREEN = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00), (0x00, 0x9E, 0x73)


def _curves(end: float, seeds: int = 10, epochs: int = 30) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    fall = 2 * np.exp(-0.2 * np.arange(epochs))
    return {
        "train_loss": fall + 0.01 * random.random((seeds, epochs)),
        "val_loss": fall + end + 0.1 * random.random((seeds, epochs)),
    }


def _pixels(png: Path, colour: tuple[int, int, int]) -> int:
    picture = np.round(imread(png)[:, :, :3] * 255).astype(int)
    return int((np.abs(picture - colour).max(axis=2) <= 2).sum())


def _margin_is_white(png: Path) -> bool:
    picture = imread(png)[:, :, :3]
    return all((edge == 1).all() for edge in (picture[:3], picture[-3:], picture[:, :3], picture[:, -3:]))


def _check(written: tuple[Path, Path]) -> None:
    svg, png = written
    assert (svg.suffix, png.suffix) == (".svg", ".png")
    assert ElementTree.parse(svg).getroot().tag.endswith("svg")
    assert _margin_is_white(png)


def test_learning_curves_show_both_candidates(tmp_path: Path) -> None:
    written = learning_curves(_curves(0.3), _curves(0.6), "cross-entropy (nats)", tmp_path / "new" / "curves.png")
    _check(written)
    assert written[0] == tmp_path / "new" / "curves.svg"
    assert _pixels(written[1], BLUE) > 500 and _pixels(written[1], ORANGE) > 500


@pytest.mark.parametrize(("ends", "marked"), [((0.3, 0.6), 2), ((0.02, 0.6), 1), ((0.0, 0.01), 0)])
def test_the_gap_is_marked_where_it_can_be_read(tmp_path: Path, ends: tuple[float, float], marked: int) -> None:
    svg, _ = learning_curves(_curves(ends[0]), _curves(ends[1]), "loss", tmp_path / "curves")
    assert svg.read_text().count("<!-- gap -->") == marked


@pytest.mark.parametrize(("seeds", "epochs"), [(1, 1), (1, 30), (2, 3)])
def test_short_curves_are_drawn(tmp_path: Path, seeds: int, epochs: int) -> None:
    _check(learning_curves(_curves(0.0, seeds, epochs), _curves(0.0, seeds, epochs), "loss", tmp_path / "curves"))


def test_a_stopped_run_is_carried_on(tmp_path: Path) -> None:
    stopped, carried = _curves(0.3), _curves(0.3)
    for curve in ("train_loss", "val_loss"):
        stopped[curve][4, 12:] = np.nan
        carried[curve][4, 12:] = carried[curve][4, 11]
    one = learning_curves(stopped, _curves(0.6), "loss", tmp_path / "one")
    other = learning_curves(carried, _curves(0.6), "loss", tmp_path / "other")
    assert one[0].read_bytes() == other[0].read_bytes()
    assert one[1].read_bytes() == other[1].read_bytes()


def test_a_curve_that_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="winner's train_loss"):
        learning_curves({"val_loss": np.ones((2, 3))}, _curves(0.1), "loss", tmp_path / "curves")


def test_gap_against_loss_rings_winner_and_baseline(tmp_path: Path) -> None:
    written = gap_against_loss(frame(), tmp_path / "gap.svg", strengths=STRENGTHS)
    _check(written)
    assert min(_pixels(written[1], colour) for colour in (BLUE, ORANGE, GREEN)) > 100
    neither = gap_against_loss(frame(), tmp_path / "neither", winner=-1, baseline=-1, strengths=STRENGTHS)
    assert _pixels(neither[1], BLUE) == _pixels(neither[1], ORANGE) == 0


def test_pruned_trials_are_hollow(tmp_path: Path) -> None:
    trials = frame()
    filled = _pixels(gap_against_loss(trials, tmp_path / "a", winner=-1, strengths=STRENGTHS)[1], GREEN)
    pruned = trials.assign(state="PRUNED")
    assert _pixels(gap_against_loss(pruned, tmp_path / "b", winner=-1, strengths=STRENGTHS)[1], GREEN) < filled / 2


@pytest.mark.parametrize("case", ["many sets", "one trial", "wide losses", "winner is baseline", "negative losses"])
def test_odd_studies_are_drawn(tmp_path: Path, case: str) -> None:
    trials, winner = frame(), None
    if case == "many sets":
        trials = trials.assign(regularizers=[f"rule_{n % 12} + with_a_rather_long_name_{n % 5}" for n in range(60)])
    elif case == "one trial":
        trials = trials.head(1)
    elif case == "wide losses":
        trials["val_loss"] = trials["val_loss"] * 10.0 ** (trials["number"] % 7)
    elif case == "winner is baseline":
        winner = 0
    else:
        trials["val_loss"] = trials["val_loss"] - 1
    _check(gap_against_loss(trials, tmp_path / "gap", winner=winner, strengths=STRENGTHS))


def test_nothing_to_draw_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no trial has a finite"):
        gap_against_loss(frame().assign(val_loss=np.nan), tmp_path / "gap", strengths=STRENGTHS)


def test_import_and_both_pictures_take_at_most_two_seconds(tmp_path: Path) -> None:
    code = (
        "import sys, time, numpy as np\n"
        "from tests.analysis.trials import STRENGTHS, frame\n"
        "from regsearch.analysis.study_pictures import gap_against_loss, learning_curves\n"
        "curves = {name: np.ones((10, 30)) for name in ('train_loss', 'val_loss')}\n"
        f"learning_curves(curves, curves, 'loss', {str(tmp_path / 'a')!r})\n"
        f"gap_against_loss(frame(200), {str(tmp_path / 'b')!r}, strengths=STRENGTHS)\n"
        "assert 'matplotlib.pyplot' not in sys.modules and 'torch' not in sys.modules\n"
        "print(time.process_time())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 2.5  # with pandas and the interpreter's own start, about 0.5 s
