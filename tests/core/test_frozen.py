"""What an author says of a parameter holds in a pack: frozen ones keep their bits and have no part in the training."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from regsearch.core.calibration import unpackable
from regsearch.core.compiling import compile_program
from regsearch.core.pack import Data, Load, Pack
from regsearch.core.pack_function import compiler
from regsearch.core.program import Program
from regsearch.core.trained_module import trained_module
from regsearch.core.training import Training
from regsearch.finals.sealed_test import stacked
from regsearch.publish.champion import export_rows
from regsearch.regularizers import all_regularizers
from regsearch.tasks import Classification
from regsearch.trial import derive_seed
from tests.core.packs import RULES, curves, digits, setting
from tests.core.stock import LOADS, SITES, TOLERANCE, program, stock, trained

WIDTH, CODES, LENGTH = 16, 11, 6
FROZEN = ("0.weight", "0.bias", "1.weight", "1.bias", "5.bias")


def net() -> nn.Module:
    """A frozen layer with the author's values, a frozen BatchNorm affine, and a frozen bias behind a trained weight."""
    model = nn.Sequential(
        nn.Linear(64, 13), nn.BatchNorm1d(13), nn.Linear(13, WIDTH), nn.Tanh(), nn.Dropout(0.1), nn.Linear(WIDTH, 10)
    )
    with torch.no_grad():
        nn.init.eye_(model.get_parameter("0.weight"))
        model.get_parameter("0.bias").fill_(0.1)
        model.get_parameter("1.weight").fill_(0.7)
        model.get_parameter("5.bias").copy_(torch.arange(10) / 10)
    for name in FROZEN:
        model.get_parameter(name).requires_grad_(False)
    return model


def without_noise() -> nn.Module:
    model = net()
    model[4] = nn.Identity()
    return model


@pytest.mark.parametrize("way", ["packed", "one at a time", "serially"])
def test_training_is_that_of_the_stock_module_alone(way: str) -> None:
    made, data = program(without_noise, "l2", "weight_decay", "max_norm"), digits()
    if way != "packed":
        made.run_one_at_a_time(eager=way == "serially")
    pack, author = trained(made, LOADS), net()
    for slot, load in LOADS.items():
        of_stock = stock(made, load, data).state_dict()
        own = {name.removeprefix("stock."): each for name, each in pack.weights(slot).items()}
        for name, value in of_stock.items():
            if "batches" not in name:
                torch.testing.assert_close(own[name], value, rtol=TOLERANCE, atol=TOLERANCE, msg=name)
        for name in FROZEN:
            assert torch.equal(own[name], author.get_parameter(name)), name


class Fixed(nn.Module):
    """A linear layer whose weight is a frozen parameter, or a buffer: what no rule and no optimizer ever sees."""

    def __init__(self, frozen: bool) -> None:
        super().__init__()
        weight = torch.eye(32, 64)
        self.weight: torch.Tensor
        if frozen:
            self.weight = nn.Parameter(weight, requires_grad=False)
        else:
            self.register_buffer("weight", weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weight)


@pytest.mark.parametrize(
    ("optimizer", "biases"), [("adamw", False), pytest.param("nesterov", True, marks=pytest.mark.slow)]
)
def test_under_every_rule_a_frozen_parameter_is_as_a_buffer(optimizer: str, biases: bool) -> None:
    """To the last bit: curves, sparsity, norms of weights and gradients, clipped steps; in any slot, at any width."""

    def of(frozen: bool) -> Program:
        def build() -> nn.Module:
            return nn.Sequential(Fixed(frozen), nn.Linear(32, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 10))

        watch = ("sparsity", "weight_norm")
        layered = ("l2.strength", "max_norm.max_norm", "drop_connect.p")
        names = [name for name, rule in RULES.items() if rule.site in SITES]
        return program(build, *names, optimizer=optimizer, biases=biases, watch=watch, per_layer=layered)

    made, other = of(True), of(False)
    assert made.layers == other.layers and made.layers["l2.strength"] == ("1", "3")

    def loads(slots: tuple[int, ...]) -> dict[int, Load]:
        params = [setting(number, share=0.8) for number in range(2)]
        for some in params:
            for rule in made.rules:
                if rule.strength_knob.name in made.layers:
                    some.pop(rule.strength_knob.name, None)
            some |= {"l2.strength.1": 0.1, "l2.strength.3": 0.2, "max_norm.max_norm.1": 0.6}
            some |= {"clip_by_norm.max_norm": 0.3, "adaptive_clip.clip": 0.05}
        return {slot: Load(number, params[number], number) for number, slot in enumerate(slots)}

    expected = curves(other, loads((0, 1)), 2)
    assert curves(made, loads((4, 2)), 5) == expected
    assert {"sparsity", "weight_norm", "gradient_norm", "clipped"} <= set(expected[0][0])


def test_shapes_that_fill_no_line_give_the_same_bits_in_every_slot() -> None:
    made = program(net, "l1", "dropout", "weight_noise", "adaptive_clip", "ema", optimizer="adamw")
    load = Load(0, {"l1.strength": 0.01, "weight_noise.sigma": 0.1, "adaptive_clip.clip": 0.1, "ema.beta": 0.8}, 5)
    alike = curves(made, {0: load}, 2)
    assert curves(made, {3: load}, 4) == alike == curves(made, {1: load}, 7)


def test_values_that_a_factory_draws_are_each_trials_own() -> None:
    """As stock torch draws them from the trial's seed, and they stay as they were drawn."""

    def build() -> nn.Module:
        model = nn.Sequential(nn.Linear(64, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 10))
        model[0].requires_grad_(False)
        return model

    pack = trained(program(build, "ema", "early_stopping"), {0: Load(0, {"ema.beta": 0.9}, 3), 1: Load(1, {}, 4)})
    for slot, seed in enumerate((3, 4)):
        torch.manual_seed(derive_seed(seed, "init"))
        assert torch.equal(pack.weights(slot)["stock.0.weight"], build().get_parameter("0.weight"))
    assert not torch.equal(pack.weights(0)["stock.0.weight"], pack.weights(1)["stock.0.weight"])


def test_saved_and_exported_trials_keep_the_authors_bits() -> None:
    made, x = program(net, "l2", "batch_norm"), digits().validation_x
    pack = trained(made, LOADS)
    again = Pack(made, digits(), 3)
    again.put(2, pack.save(1))
    assert all(torch.equal(each, again.weights(2)[name]) for name, each in pack.weights(1).items())
    module = trained_module(made, pack.weights(1), LOADS[1].params)
    named = dict(module.named_parameters())
    for name in FROZEN:
        own = next(each for full, each in named.items() if full.endswith(f"stock.{name}") or full == name)
        assert torch.equal(own, net().get_parameter(name)), name
    served = export_rows(module, x[:4]).module()
    expected = made.evaluation.outputs(pack.w, pack.buffers, x, pack.knobs)[1]
    torch.testing.assert_close(served(x), expected)
    w, buffers = stacked(made, [{n: each.numpy() for n, each in pack.weights(slot).items()} for slot in (0, 1)])
    assert torch.equal(made.evaluation.outputs(w, buffers, x, pack.knobs)[1], expected)


@pytest.mark.slow
@pytest.mark.skipif(compiler() is None, reason="no C++ compiler")
def test_compiled_packs_keep_them_too() -> None:
    made = program(without_noise, "l2", "weight_decay", "max_norm")
    expected = trained(made, LOADS)
    assert compile_program(made, digits(), 10_000) is None
    pack = trained(made, LOADS)
    for name, value in expected.weights(1).items():
        torch.testing.assert_close(pack.weights(1)[name], value, rtol=TOLERANCE, atol=TOLERANCE, msg=name)
    assert all(torch.equal(pack.weights(1)[f"stock.{name}"], net().get_parameter(name)) for name in FROZEN)


class Words(nn.Module):
    """Codes to the next code; the embedding is frozen, or tied to the output layer."""

    def __init__(self, tied: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(CODES, 10)
        self.hidden = nn.Linear(10, 10)
        self.out = nn.Linear(10, CODES, bias=False)
        if tied:
            self.out.weight = self.embedding.weight
        else:
            self.embedding.weight.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.out(torch.tanh(self.hidden(self.embedding(x).mean(1))))
        return out


def codes() -> Data:
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randint(CODES, (60, LENGTH), generator=draw), torch.randint(CODES, (60,), generator=draw)
    return Data(x, y, x[:20], y[:20])


def of_codes(tied: bool) -> Program:
    training = Training(2, 25, "sgd", 0.05, 0.0, (0.9, 0.999), "constant", False)
    rules = tuple(all_regularizers()[name] for name in ("l2", "weight_decay", "max_norm", "ema"))
    return Program(lambda: Words(tied), Classification(CODES), rules, training, watch=("weight_norm",))


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "frozen"])
def test_embeddings_are_tied_or_frozen_as_the_author_says(tied: bool) -> None:
    """A tied weight is stored, penalized and counted once, and stays one in the exported model."""
    made, data = of_codes(tied), codes()
    assert unpackable(made, data) is None
    pack = trained(made, LOADS, data=data)
    for slot, load in LOADS.items():
        model = stock(made, load, data)
        for name, value in model.named_parameters():
            own = pack.weights(slot)[f"stock.{name}"]
            torch.testing.assert_close(own, value.detach(), rtol=TOLERANCE, atol=TOLERANCE, msg=name)
    module = trained_module(made, pack.weights(1), LOADS[1].params)
    assert isinstance(module, Words)
    assert (module.out.weight is module.embedding.weight) is tied
    exported = export_rows(module, data.train_x[:4])
    large = [each for each in exported.state_dict.values() if each.numel() == 10 * CODES]
    assert len({each.data_ptr() for each in large}) == (1 if tied else 2)
    size = 10 * CODES + 100
    assert sum(entry.size for entry in made.layout.entries if entry.role == "weight") == size
    report = pack.train_epoch([1])[0]
    some = [each for name, each in pack.weights(1).items() if "weight" in name and (tied or "embedding" not in name)]
    assert report.metrics["weight_norm"] == pytest.approx(float(torch.cat([w.flatten() for w in some]).norm()))
