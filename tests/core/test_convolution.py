"""Convolutions under a pack equal the stock ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from regsearch.core.pack_function import PackFunction
from tests.core.lifting import differences

CASES: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "pictures": (nn.Conv2d(3, 4, 3), (2, 3, 7, 6)),
    "one channel": (nn.Conv2d(1, 4, 3, padding=1), (2, 1, 7, 6)),
    "strided": (nn.Conv2d(3, 4, (3, 2), stride=(2, 1), padding=(1, 0), bias=False), (2, 3, 7, 6)),
    "dilated": (nn.Conv2d(3, 4, 3, dilation=2, padding="same"), (2, 3, 7, 6)),
    "even kernel": (nn.Conv2d(3, 4, (2, 4), padding="same"), (2, 3, 7, 6)),
    "valid": (nn.Conv2d(3, 4, 3, padding="valid"), (2, 3, 7, 6)),
    "grouped": (nn.Conv2d(4, 8, 3, groups=4), (2, 4, 7, 6)),
    "reflected": (nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), (2, 3, 7, 6)),
    "no batch": (nn.Conv2d(3, 4, 3), (3, 7, 6)),
    "series": (nn.Conv1d(3, 4, 3, padding=2, dilation=2), (2, 3, 9)),
    "causal series": (nn.Sequential(nn.ConstantPad1d((2, 0), 0.0), nn.Conv1d(3, 4, 3)), (2, 3, 9)),
    "volumes": (nn.Conv3d(2, 3, 2), (2, 2, 4, 3, 5)),
    "transposed": (nn.ConvTranspose2d(3, 4, 3), (2, 3, 5, 4)),
    "with norm and pooling": (
        nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3)
        ),
        (5, 3, 8, 6),
    ),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("name", list(CASES))
def test_a_convolution_equals_stock(name: str) -> None:
    module, shape = CASES[name]
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(2))
    assert differences(module, x) == []


def test_a_graph_serves_packs_of_any_width() -> None:
    def function(w: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        from regsearch.core.layers.convolution import convolve

        return convolve(x, w).relu()

    packed = PackFunction(function)
    for width in (2, 3, 5):
        w, x = torch.randn(width, 4, 3, 3, 3), torch.randn(width, 2, 3, 6, 6)
        found = packed(w, x)
        for trial in range(width):
            torch.testing.assert_close(found[trial], torch.conv2d(x[trial], w[trial]).relu())
    assert packed.traces == 2
