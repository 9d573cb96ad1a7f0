"""Recurrent layers under a pack equal the stock ones, whichever way their cells are computed."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from regsearch.core.lifted_module import Lifted
from regsearch.core.pack_function import PackFunction, compiler
from tests.core.lifting import agree, differences, loss_of, pack

BATCH, STEPS, INPUTS, HIDDEN = 3, 6, 5, 7
KINDS = {"gru": nn.GRU, "lstm": nn.LSTM}
OPTIONS = [dict(zip(("num_layers", "bidirectional", "batch_first", "bias"), each, strict=True))
           for each in itertools.product((1, 2), (False, True), (False, True), (True, False))]  # fmt: skip


def inputs() -> torch.Tensor:
    return torch.randn(3, BATCH, STEPS, INPUTS, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("options", OPTIONS, ids=lambda each: "-".join(str(int(v)) for v in each.values()))
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_layer_equals_stock(kind: str, options: dict[str, object]) -> None:
    assert differences(KINDS[kind](INPUTS, HIDDEN, **options), inputs()) == []


class Started(nn.Module):
    """A layer that is given its first state, made from the input."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer, self.first = layer, nn.Linear(INPUTS, HIDDEN)

    def forward(self, x: torch.Tensor) -> object:
        h = self.first(x[:, 0]).unsqueeze(0)
        return self.layer(x, (h, h.cos()) if isinstance(self.layer, nn.LSTM) else h)


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_given_first_state_is_used_and_trained(kind: str) -> None:
    assert differences(Started(KINDS[kind](INPUTS, HIDDEN, batch_first=True)), inputs()) == []


class Unbatched(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> object:
        return self.layer(x[0])


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_single_sequence(kind: str) -> None:
    assert differences(Unbatched(KINDS[kind](INPUTS, HIDDEN)), inputs()) == []


@pytest.mark.parametrize("kind", list(KINDS))
def test_dropout_between_layers_is_a_site(kind: str) -> None:
    made = Lifted(nn.Sequential(KINDS[kind](INPUTS, HIDDEN, num_layers=3, dropout=0.4)))
    made.find_sites(torch.randn(STEPS, BATCH, INPUTS))
    assert (made.kind, made.sites) == ("dropout", 2)


@pytest.mark.skipif(compiler() is None, reason="no C++ compiler")
@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("hidden", [7, pytest.param(32, marks=pytest.mark.slow)])
def test_compiled_cells_equal_those_in_torch(kind: str, hidden: int) -> None:
    lifted = Lifted(KINDS[kind](INPUTS, hidden, bidirectional=True))
    weights, x = pack(lifted.stock, 3), 3 * inputs()

    def loss(w: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return loss_of(functional_call(lifted, w, (x,)))

    slope: Callable[..., dict[str, torch.Tensor]] = grad(loss)
    expected = vmap(slope)(weights, x)
    function = PackFunction(slope)
    function.compile(weights, x)
    found = function(weights, x)
    assert all(agree(found[name], expected[name]) for name in weights)
