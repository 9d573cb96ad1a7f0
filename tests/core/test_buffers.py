"""Buffers that a module's own forward pass changes: each trial has its own, as if the stock module trained alone."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from regsearch.core.calibration import unpackable
from regsearch.core.compiling import compile_program
from regsearch.core.pack import Load, Pack
from regsearch.core.pack_function import compiler
from regsearch.core.program import Program
from regsearch.core.trained_module import trained_module
from regsearch.core.training import Training
from regsearch.errors import UserError
from regsearch.publish.champion import export_rows
from regsearch.tasks import Classification
from regsearch.trial import derive_seed
from tests.core.packs import RULES, digits

TOLERANCE = 2e-5
WIDTH = 12


class Centred(nn.Module):
    """h minus a moving mean that its forward pass keeps in buffers, in one of the ways that people write it."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.register_buffer("mean", torch.zeros(WIDTH))
        self.register_buffer("bank", torch.zeros(3, WIDTH), persistent=False)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))
        self.register_buffer("var", torch.ones(WIDTH))
        self.mean: torch.Tensor
        self.bank: torch.Tensor
        self.calls: torch.Tensor
        self.started: torch.Tensor
        self.var: torch.Tensor

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        if self.way == "batch_norm":
            return F.batch_norm(h, self.mean, self.var, training=self.training, momentum=0.2)
        if self.training or self.way == "always":
            WAYS[self.way](self, h)
        return h - self.mean - self.bank.mean(0) + 0.01 * self.calls


def _lerp(at: Centred, h: torch.Tensor) -> None:
    at.mean.lerp_(h.mean(0).detach(), 0.1)


def _of_the_graph(at: Centred, h: torch.Tensor) -> None:
    """Without `detach`: what the stock module alone keeps is the number, and no slope goes back a step."""
    at.mean = at.mean.detach().lerp_(h.mean(0), 0.1)


def _assigned(at: Centred, h: torch.Tensor) -> None:
    with torch.no_grad():
        at.mean = 0.9 * at.mean + 0.1 * h.mean(0)


def _counted(at: Centred, h: torch.Tensor) -> None:
    at.calls += 1
    at.mean.add_((h.mean(0).detach() - at.mean) / at.calls)


def _flagged(at: Centred, h: torch.Tensor) -> None:
    mean = h.mean(0).detach()
    at.mean.copy_(torch.where(at.started, 0.9 * at.mean + 0.1 * mean, mean))
    at.started.fill_(True)


def _written(at: Centred, h: torch.Tensor) -> None:
    at.bank.copy_(at.bank.roll(1, 0))
    at.bank[0] = h.mean(0).detach()


def _moments(at: Centred, h: torch.Tensor) -> None:
    h = h.detach()
    at.var.addcmul_(h.mean(0), h.mean(0), value=0.1).clamp_(max=1.5)
    at.mean.addcdiv_(h.mean(0), at.var, value=0.1)


def _by_data(at: Centred, h: torch.Tensor) -> None:
    at.mean.data.mul_(0.9).add_(h.mean(0).detach(), alpha=0.1)


WAYS: dict[str, Callable[[Centred, torch.Tensor], None]] = {
    "lerp": _lerp,
    "always": _lerp,
    "of the graph": _of_the_graph,
    "assigned": _assigned,
    "counted": _counted,
    "flagged": _flagged,
    "written": _written,
    "moments": _moments,
    "by data": _by_data,
}
LOADS = {0: Load(0, {}, 3), 1: Load(1, {"l2.strength": 0.1}, 4)}


def net(*ways: str) -> nn.Module:
    """These ways in one model, side by side; every way where none is named."""
    parts = [Centred(way) for way in ways or [*WAYS, "batch_norm"]]
    return nn.Sequential(
        nn.Linear(64, WIDTH), Sum(parts), nn.BatchNorm1d(WIDTH, momentum=None), nn.Tanh(), nn.Linear(WIDTH, 10)
    )


class Sum(nn.Module):
    def __init__(self, parts: list[Centred]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return torch.stack([part(h) for part in self.parts]).mean(0)


def made(*names: str, build: Callable[[], nn.Module] = net) -> Program:
    training = Training(2, 25, "sgd", 0.05, 0.0, (0.9, 0.999), "constant", False)
    return Program(build, Classification(10), tuple(RULES[name] for name in ("l2", *names)), training)


def trained(program: Program, slots: dict[int, Load], width: int) -> tuple[Pack, dict[int, float]]:
    """A pack after two epochs, and the last validation loss of each slot."""
    pack = Pack(program, digits(), width)
    for slot, load in slots.items():
        pack.load(slot, load)
    for _ in range(2):
        reports = pack.train_epoch(list(slots))
    return pack, {slot: report.metrics["val_loss"] for slot, report in zip(slots, reports, strict=True)}


@functools.cache
def both() -> tuple[Program, Pack, dict[int, float]]:
    program = made()
    assert unpackable(program, digits()) is None
    return program, *trained(program, LOADS, 2)


def alone(program: Program, load: Load, epochs: int) -> tuple[nn.Module, float]:
    """The stock module trained by stock torch, and its validation loss; it is evaluated as a copy of itself."""
    torch.manual_seed(derive_seed(load.seed, "init"))
    model, data = program.build(), digits()
    weights = [model.get_parameter("0.weight"), model.get_parameter("4.weight")]
    for epoch in range(epochs):
        model.train()
        for rows in program.order(load.seed, epoch, len(data.train_y)).split(25):
            loss = F.cross_entropy(model(data.train_x[rows]), data.train_y[rows])
            for w in weights:
                loss = loss + load.params.get("l2.strength", 0.0) / 2 * w.square().sum()  # type: ignore[operator]
            model.zero_grad()
            loss.backward()
            torch.optim.SGD(model.parameters(), 0.05).step()
    kept = {name: value.clone() for name, value in model.named_buffers()}
    with torch.no_grad():
        loss = F.cross_entropy(model.eval()(data.validation_x), data.validation_y)
    for name, value in kept.items():
        model.get_buffer(name).data = value
    return model, float(loss)


@pytest.mark.parametrize("serially", [False, True], ids=["packed", "serially"])
def test_buffers_are_those_of_the_stock_module_alone(serially: bool) -> None:
    program, pack, losses = both()
    if serially:
        program = made()
        program.run_one_at_a_time(eager=True)
        pack, losses = trained(program, LOADS, 2)
    for slot, load in LOADS.items():
        stock, loss = alone(program, load, 2)
        found = {name.removeprefix("stock."): value for name, value in pack.weights(slot).items()}
        changed = {name.removeprefix("stock.") for name in program.model.changing}
        assert len(changed) == len(WAYS) + 5
        for name in [*changed, "2.running_mean", "2.running_var", "0.weight", "4.weight"]:
            expected = stock.state_dict(keep_vars=True).get(name, dict(stock.named_buffers()).get(name))
            assert expected is not None
            torch.testing.assert_close(found[name], expected.detach(), rtol=TOLERANCE, atol=TOLERANCE, msg=name)
        assert losses[slot] == pytest.approx(loss, rel=TOLERANCE)
        assert found["2.batches"] == 8


def test_a_trial_has_the_same_buffers_in_every_pack() -> None:
    """To the last bit, in another slot, at another width, beside others; and whole numbers stay whole."""
    program, first, _ = both()
    second, _ = trained(program, {3: LOADS[1], 0: Load(7, {}, 8)}, 5)
    one, other = first.weights(1), second.weights(3)
    assert all(torch.equal(one[name], other[name]) for name in one)
    counts = {name: value for name, value in one.items() if not value.is_floating_point()}
    assert {(value.dtype, int(value)) for value in counts.values()} == {(torch.int64, 8), (torch.bool, 1)}


@pytest.mark.slow
def test_the_epoch_that_is_restored_has_its_own_buffers() -> None:
    program = made("early_stopping")
    pack = Pack(program, digits(), 2)
    pack.load(0, Load(0, {"early_stopping.patience": 1.0, "early_stopping.min_delta": 10.0}, 3))
    pack.train_epoch([0])
    first = pack.weights(0)
    assert pack.train_epoch([0])[0].restored == 1, "no epoch is better than the first by that much"
    assert all(torch.equal(value, pack.weights(0)[name]) for name, value in first.items())
    assert program.model.changing <= set(first)


def test_the_packaged_model_gives_one_answer_however_often_it_is_asked() -> None:
    (program, pack, _), x = both(), digits().validation_x
    served = export_rows(trained_module(program, pack.weights(1), LOADS[1].params), x[:4]).module()
    expected = program.evaluation.outputs(pack.w, pack.buffers, x, pack.knobs)[1]
    for _ in range(2):
        torch.testing.assert_close(served(x), expected)


def test_norms_without_running_statistics_are_refused_in_one_line() -> None:
    with pytest.raises(UserError, match=r"BatchNorm1d\(track_running_stats=False\).*GroupNorm or LayerNorm") as caught:
        made(build=lambda: nn.Sequential(nn.Linear(64, 4), nn.BatchNorm1d(4, track_running_stats=False)))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.skipif(compiler() is None, reason="no C++ compiler")
def test_compiled_packs_carry_the_same_buffers() -> None:
    program = made(build=lambda: net("counted", "written", "batch_norm"))
    expected, _ = trained(program, LOADS, 2)
    assert compile_program(program, digits(), 10_000) is None
    found, _ = trained(program, LOADS, 2)
    for name, value in expected.weights(1).items():
        torch.testing.assert_close(found.weights(1)[name], value, rtol=TOLERANCE, atol=TOLERANCE, msg=name)
