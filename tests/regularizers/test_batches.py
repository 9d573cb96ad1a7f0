"""The rules of batches that draw boxes and shares, against what their papers say of them."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from regsearch.regularizers.batches import CutMix, Cutout, MixUp
from regsearch.testing.effects import FixedNumbers

ROWS = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 2, 6, 6)
TARGETS = torch.eye(8)


@pytest.mark.parametrize("alpha", [0.3, 1.0, 2.0])
def test_mixing_shares_are_the_smaller_side_of_a_symmetric_beta(alpha: float) -> None:
    ctx, rule = FixedNumbers(), MixUp.at({"mix_up.alpha": torch.tensor(alpha)})
    # Two rows, one the other's partner or its own: the share shows where they differ.
    batches = [rule.batch(torch.eye(2), torch.eye(2), ctx)[1] for _ in range(3000)]  # type: ignore[attr-defined]
    shares = [float(1 - y[0, 0]) for y in batches if y[0, 0] < 1]
    assert 1300 < len(shares) < 1700
    assert stats.kstest(shares, lambda share: 2 * stats.beta(alpha, alpha).cdf(share)).pvalue > 1e-3


def test_mixed_targets_are_mixed_as_the_inputs_are() -> None:
    ctx, rule = FixedNumbers(), MixUp.at({"mix_up.alpha": torch.tensor(1.0)})
    for _ in range(20):
        x, y = rule.batch(ROWS, TARGETS, ctx)  # type: ignore[attr-defined]
        torch.testing.assert_close(x[:, 0, 0, 0], y @ torch.arange(8.0))


def test_cut_targets_hold_the_share_of_pixels_of_each_row() -> None:
    ctx, rule = FixedNumbers(), CutMix.at({"cut_mix.p": torch.tensor(1.0)})
    sizes = set()
    for _ in range(50):
        x, y = rule.batch(ROWS, TARGETS, ctx)  # type: ignore[attr-defined]
        torch.testing.assert_close(x.mean((1, 2, 3)), y @ torch.arange(8.0))
        own = (x == ROWS)[:, 0]
        assert all(_is_box(~row) for row in own), "what is replaced is one box"
        sizes.add(int((~own).sum()))
    assert len(sizes) > 10


def test_boxes_cut_on_the_share_of_steps_that_p_says() -> None:
    ctx, rule = FixedNumbers(), CutMix.at({"cut_mix.p": torch.tensor(0.3)})
    cut = [not torch.equal(rule.batch(ROWS, TARGETS, ctx)[0], ROWS) for _ in range(600)]  # type: ignore[attr-defined]
    # A box may be empty, and a permutation leave all in place: somewhat below p.
    assert 0.2 < sum(cut) / len(cut) < 0.33


def test_each_row_loses_a_box_of_its_own_of_the_size_asked_for() -> None:
    ctx, rule = FixedNumbers(), Cutout.at({"cutout.side": torch.tensor(0.5)})
    boxes = []
    for _ in range(30):
        x, y = rule.batch(torch.ones(8, 2, 6, 6), TARGETS, ctx)  # type: ignore[attr-defined]
        assert torch.equal(y, TARGETS) and torch.equal(x[:, 0], x[:, 1])
        boxes += [row == 0 for row in x[:, 0]]
    assert all(_is_box(box) for box in boxes)
    assert max(int(box.sum()) for box in boxes) == 9, "3 of 6 places along either axis"
    assert len({box.numpy().tobytes() for box in boxes}) == 36, "one box for each place of the centre"


@pytest.mark.parametrize("rule", [CutMix, Cutout])
def test_features_are_a_line_and_the_box_an_interval(rule: type[CutMix] | type[Cutout]) -> None:
    ctx, at = FixedNumbers(), rule.at({"cut_mix.p": torch.tensor(1.0), "cutout.side": torch.tensor(0.4)})
    x = torch.arange(1.0, 9).view(8, 1).expand(8, 10)
    for _ in range(20):
        cut, _ = at.batch(x, TARGETS, ctx)  # type: ignore[attr-defined]
        assert all(_is_box((row != own).unsqueeze(0)) for row, own in zip(cut, x, strict=True))


def _is_box(mask: torch.Tensor) -> bool:
    """Whether the places that are set fill a rectangle."""
    rows, columns = mask.any(1), mask.any(0)
    return bool(torch.equal(mask, rows.unsqueeze(1) & columns.unsqueeze(0))) and all(
        int((line[1:] != line[:-1]).sum()) <= 2 and not (line[0] and line[-1] and not line.all())
        for line in (rows, columns)
    )
