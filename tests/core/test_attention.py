"""Attention layers under a pack equal the stock ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.core.lifting import differences

B, L, E = 3, 5, 8
LATER = torch.triu(torch.ones(L, L, dtype=torch.bool), 1)


class Calls(nn.Module):
    """A module and how it is called."""

    def __init__(self, part: nn.Module, call: Callable[[nn.Module, torch.Tensor], object]) -> None:
        super().__init__()
        self.part, self.call = part, call

    def forward(self, x: torch.Tensor) -> object:
        return self.call(self.part, x)


def attention(**options: object) -> nn.Module:
    return nn.MultiheadAttention(E, 2, batch_first=True, **options)


PADDING = torch.arange(L).expand(B, L) >= torch.tensor([[5], [3], [4]])
CASES: dict[str, nn.Module] = {
    "self": Calls(attention(), lambda a, x: a(x, x, x)),
    "without weights": Calls(attention(bias=False), lambda a, x: a(x, x, x, need_weights=False)),
    "weights of each head": Calls(attention(), lambda a, x: a(x, x, x, average_attn_weights=False)),
    "other keys": Calls(attention(), lambda a, x: a(x[:, :2], x, 2 * x)),
    "other sizes": Calls(attention(kdim=4, vdim=6), lambda a, x: a(x, x[..., :4], x[..., 2:])),
    "causal": Calls(attention(), lambda a, x: a(x, x, x, attn_mask=LATER, is_causal=True, need_weights=False)),
    "padding": Calls(attention(), lambda a, x: a(x, x, x, key_padding_mask=PADDING)),
    "both masks": Calls(attention(), lambda a, x: a(x, x, x, key_padding_mask=PADDING, attn_mask=LATER)),
    "numbers as mask": Calls(attention(), lambda a, x: a(x, x, x, attn_mask=0.3 * torch.arange(L) * torch.ones(L, L))),
    "mask for each head": Calls(attention(), lambda a, x: a(x, x, x, attn_mask=LATER.expand(2 * B, L, L))),
    "keys of its own": Calls(attention(add_bias_kv=True), lambda a, x: a(x, x, x)),
    "a key of zeros": Calls(attention(add_zero_attn=True), lambda a, x: a(x, x, x, key_padding_mask=PADDING)),
    "both keys": Calls(
        attention(add_bias_kv=True, add_zero_attn=True),
        lambda a, x: a(x, x, x, key_padding_mask=PADDING, attn_mask=LATER),
    ),
    "no batch": Calls(attention(), lambda a, x: a(x[0], x[0], x[0])),
    "encoder layer": nn.TransformerEncoderLayer(E, 2, 16, dropout=0.0, batch_first=True),
    "norm first": nn.TransformerEncoderLayer(E, 2, 16, dropout=0.0, norm_first=True, activation="gelu"),
    "encoder": nn.TransformerEncoder(
        nn.TransformerEncoderLayer(E, 2, 16, dropout=0.0, batch_first=True), 2, enable_nested_tensor=False
    ),
    "encoder with masks": Calls(
        nn.TransformerEncoder(
            nn.TransformerEncoderLayer(E, 2, 16, dropout=0.0, batch_first=True), 2, enable_nested_tensor=False
        ),
        lambda a, x: a(x, mask=LATER, src_key_padding_mask=PADDING),
    ),
    "fused": Calls(nn.Linear(E, E), lambda a, x: F.scaled_dot_product_attention(a(x), x, x, is_causal=True)),
    "fused, few keys": Calls(
        nn.Linear(E, E), lambda a, x: F.scaled_dot_product_attention(a(x), x[:, :2], x[:, 1:3], scale=0.3)
    ),
    "fused, mask": Calls(nn.Linear(E, E), lambda a, x: F.scaled_dot_product_attention(a(x), x, x, attn_mask=~LATER)),
}


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("name", list(CASES))
def test_attention_equals_stock(name: str, training: bool) -> None:
    module = CASES[name].train(training)
    x = torch.randn(3, B, L, E, generator=torch.Generator().manual_seed(4))
    assert differences(module, x) == []


def test_a_wrong_mask_is_seen() -> None:
    """The comparison fails for another mask, hence it can fail."""
    x = torch.randn(3, B, L, E)
    masks = iter([LATER] * 4)
    assert differences(Calls(attention(), lambda a, h: a(h, h, h, attn_mask=next(masks))), x, traced=False) == []
    masks = iter([LATER.T, LATER, LATER, LATER])
    assert differences(Calls(attention(), lambda a, h: a(h, h, h, attn_mask=next(masks))), x, traced=False) != []
