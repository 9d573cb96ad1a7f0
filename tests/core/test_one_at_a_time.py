"""One trial at a time: the graph of one trial, compiled or not, in a pack or by itself, and the stock loop."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from regsearch.core.calibration import ALONE, calibrate
from regsearch.core.compiling import compile_program
from regsearch.core.layers import pooling
from regsearch.core.pack import Load, Pack
from regsearch.core.pack_function import PackFunction
from regsearch.core.program import Program
from regsearch.models import convnet, mlp
from regsearch.tasks import Classification
from tests.core.packs import RULES, curves, digits, program

NAMES = ("dropout", "l2", "clip_by_norm", "weight_decay", "label_smoothing", "early_stopping")
LOADS = {
    0: Load(0, {}, 3),
    1: Load(1, {"dropout.p": 0.4, "l2.strength": 1e-3}, 4),
    2: Load(2, {"clip_by_norm.max_norm": 0.2, "label_smoothing.epsilon": 0.1}, 5),
}


def pictures(*names: str) -> Program:
    """A small ConvNet on digits; the last batch is smaller than the others."""

    def build() -> nn.Module:
        return nn.Sequential(nn.Unflatten(1, (1, 8, 8)), convnet((1, 8, 8), 10, (5, 8), norm="none", dropout=0.0))

    training = dataclasses.replace(program((), "adam").training, batch_size=27, schedule="constant")
    return Program(build, Classification(10), tuple(RULES[name] for name in names), training)


@pytest.fixture(scope="module", params=["graph", pytest.param("compiled", marks=pytest.mark.slow)])
def alone(request: pytest.FixtureRequest) -> Program:
    made = pictures(*NAMES)
    made.run_one_at_a_time()
    if request.param == "compiled":
        assert compile_program(made, digits(), trials=10**6) is None
    return made


def test_bits_depend_on_neither_width_nor_slot_nor_neighbours(alone: Program) -> None:
    traced = alone.traces
    single = {number: curves(alone, {0: load}, 1)[number] for number, load in LOADS.items()}
    assert len({str(curve) for curve in single.values()}) == 3
    assert curves(alone, {1: LOADS[2], 3: LOADS[0], 4: LOADS[1]}, 5) == single
    wild = Load(99, {"train.learning_rate": 1e30}, 1)
    assert curves(alone, {0: wild, 1: LOADS[1]}, 2)[1] == single[1]
    assert alone.traces <= traced + 5, "one graph for each size of batch, however wide the pack"


def test_the_pack_computes_the_same_up_to_rounding(alone: Program) -> None:
    packed = curves(pictures(*NAMES), LOADS, 3, epochs=1)
    for number, load in LOADS.items():
        (ours,) = curves(alone, {0: load}, 1, epochs=1)[number]
        for name, value in packed[number][0].items():
            assert ours[name] == pytest.approx(value, rel=1e-4, abs=1e-5), name


def test_the_weights_are_those_of_the_stock_loop() -> None:
    made, data = pictures(), digits()
    made.run_one_at_a_time()
    pack = Pack(made, data, 1)
    pack.load(0, LOADS[0])
    stock = made.build()
    start = {name.removeprefix("stock."): value for name, value in pack.weights(0).items()}
    stock.load_state_dict(start)
    optimizer = torch.optim.Adam(stock.parameters(), lr=made.training.learning_rate)
    for chosen in torch.split(made.order(LOADS[0].seed, 0, len(data.train_y)), made.training.batch_size):
        optimizer.zero_grad()
        F.cross_entropy(stock(data.train_x[chosen]), data.train_y[chosen]).backward()
        optimizer.step()
    pack.train_epoch([0])
    found = pack.weights(0)
    for name, value in stock.state_dict().items():
        torch.testing.assert_close(found[f"stock.{name}"], value, rtol=1e-4, atol=1e-5)
        assert not torch.equal(value, start[name])


def test_rows_that_start_anywhere_have_the_same_bits_and_are_written() -> None:
    def product(w: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return w + x @ w

    torch.manual_seed(0)
    w, x = torch.randn(9, 33, 33), torch.randn(9, 33, 33)
    function = PackFunction(product, into=lambda w, x: w)
    function.one_at_a_time()
    together = w.clone()
    function(together, x)
    for trial in range(9):
        own = w[trial : trial + 1].clone()
        function(own, x[trial : trial + 1].clone())
        assert torch.equal(own[0], together[trial])


@pytest.mark.parametrize("last", [False, True], ids=["channels-first", "channels-last"])
@pytest.mark.parametrize(("size", "kernel"), [((8, 6), (2, 2)), ((7, 9), (2, 2)), ((7, 9), (3, 2)), ((1, 12), (1, 4))])
def test_pooling_for_the_compiler_is_that_of_torch(size: tuple[int, int], kernel: tuple[int, int], last: bool) -> None:
    torch.manual_seed(1)
    x = torch.randint(-2, 2, (3, 4, *size)).float()  # many equals
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    forward, back = torch.ops.aten.max_pool2d_with_indices, torch.ops.aten.max_pool2d_with_indices_backward
    known = pooling.decompositions()
    how = list(kernel), list(kernel), [0, 0], [1, 1], False
    best, indices = forward(x, *how)
    ours, places = known[forward.default](x, *how)
    assert torch.equal(ours, best) and torch.equal(places, indices)
    g = torch.randn_like(best)
    assert torch.equal(known[back.default](g, x, *how, indices), back(g, x, *how, indices))


def test_a_program_is_calibrated_for_a_width_or_finds_one() -> None:
    def build() -> Program:
        return Program(lambda: mlp((64,), 10, hidden=(16,)), Classification(10), (), program(()).training)

    data = digits()
    found = calibrate(build, data, most=16, trials=10)
    assert found.width > ALONE and not found.program(found.width).one_at_a_time, "packs are ten times as fast here"
    assert found.uncompiled == "the study is too short"
    forced = calibrate(build, data, most=16, trials=10, width=ALONE, compiled=False)
    assert (forced.width, forced.serial) == (ALONE, None) and forced.program(ALONE).one_at_a_time
    assert forced.uncompiled == "the study file says so"
