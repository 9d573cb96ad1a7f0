"""Embedding bags under a pack equal the stock ones, and no bit depends on the width."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from regsearch.core.lifted_module import Lifted
from regsearch.core.pack_function import PackFunction
from tests.core.lifting import agree, differences, loss_of, pack

WORDS, FEATURES, BAGS, LENGTH = 9, 5, 4, 6
STARTS = torch.tensor([0, 5, 5, 11])


class Bags(nn.Module):
    """Bags of the rows of x [B, L], or of its indices in one line, cut at STARTS; each index may have a weight."""

    def __init__(self, form: str, weighted: bool = False, **options: object) -> None:
        super().__init__()
        self.form = form
        self.bag = nn.EmbeddingBag(WORDS, FEATURES, **options)
        self.scales = nn.Embedding(WORDS, 1) if weighted else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scales = None if self.scales is None else self.scales(x).squeeze(-1)
        if self.form == "rows":
            return self.bag(x, per_sample_weights=scales)
        starts = STARTS
        if self.form == "last":
            starts = torch.cat([STARTS, torch.tensor([x.numel()])])
        return self.bag(x.flatten(), starts, None if scales is None else scales.flatten())


CASES = {
    f"{form}, {name}": Bags(form, include_last_offset=form == "last", **options)
    for form in ("rows", "starts", "last")
    for name, options in {
        "sum": {"mode": "sum"},
        "mean": {"mode": "mean"},
        "max": {"mode": "max"},
        "sum with padding": {"mode": "sum", "padding_idx": 2},
        "mean with padding": {"mode": "mean", "padding_idx": -7},
        "max with padding": {"mode": "max", "padding_idx": 2},
        "weighted": {"mode": "sum", "weighted": True},
        "weighted with padding": {"mode": "sum", "weighted": True, "padding_idx": 2},
    }.items()
}


def indices(trials: int = 3) -> torch.Tensor:
    """[T, B, L]: words come more than once, and the second row of every trial is nothing but padding."""
    x = torch.randint(WORDS, (trials, BAGS, LENGTH), generator=torch.Generator().manual_seed(5))
    x[:, 1] = 2
    return x


@pytest.mark.parametrize("name", list(CASES))
def test_bags_equal_stock(name: str) -> None:
    assert differences(CASES[name], indices()) == []


@pytest.mark.parametrize("name", ["rows, mean with padding", "starts, weighted", "rows, max"])
def test_no_bit_depends_on_the_width(name: str) -> None:
    lifted = Lifted(CASES[name])

    def slope(w: dict[str, torch.Tensor], x: torch.Tensor) -> dict[str, torch.Tensor]:
        return grad(lambda w: loss_of(functional_call(lifted, w, (x,))))(w)

    packed, weights, x = PackFunction(slope), pack(CASES[name], 8), indices(8)
    whole = packed(weights, x)
    for part in (slice(3, 5), slice(5, 8)):
        found = packed({key: value[part] for key, value in weights.items()}, x[part])
        assert all(torch.equal(found[key], value[part]) for key, value in whole.items())
    assert packed.traces == 2


def test_another_padding_is_seen() -> None:
    """The comparison fails for another padding row, hence it can fail."""
    w, x = torch.randn(3, WORDS, FEATURES), indices()
    lifted = Lifted(nn.EmbeddingBag(WORDS, FEATURES, padding_idx=2))
    found = vmap(lambda w, x: functional_call(lifted, {"stock.weight": w}, (x,)))(w, x)
    for padding, same in ((2, True), (3, False)):
        stock = torch.nn.functional.embedding_bag(x[1], w[1], padding_idx=padding)
        assert agree(found[1], stock) == same
