"""Every stock model: its keys, its shapes, and one packed step against the stock module trained by stock torch."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import nn

from regsearch.config.stock import STOCK
from regsearch.core.pack import Data, Load, Pack
from regsearch.core.program import Program
from regsearch.core.training import Training
from regsearch.errors import UserError
from regsearch.models import MODELS, build_model
from regsearch.publish.champion import export_rows
from regsearch.regularizers import all_regularizers
from regsearch.tasks import Classification, Clustering, LanguageModelling, Recommendation, Task

B, RATE = 12, 0.1
TOLERANCE = 2e-5
IMAGE, SERIES, TEXT = (1, 8, 8), (9, 4), (7,)


def drawn(shape: tuple[int, ...], high: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    rows = (B, *shape)
    return torch.randint(0, high, rows, generator=generator) if high else torch.randn(rows, generator=generator)


@dataclass(frozen=True)
class Case:
    name: str
    inputs: tuple[int, ...]
    task: Task
    vocabulary: tuple[int, ...] | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def build(self) -> nn.Module:
        known = {"vocabulary": self.vocabulary} if self.vocabulary else {}
        outputs = self.y()[0].numel() - 1 if isinstance(self.task, Clustering) else self.task.shape(1)[-1]
        return build_model(self.name, None, {**self.options, **known}, self.inputs, int(outputs or 0), "")

    def x(self) -> torch.Tensor:
        return drawn(self.inputs, min(self.vocabulary or (0,)))

    def y(self) -> torch.Tensor:
        if isinstance(self.task, Classification):
            return drawn((), self.task.classes)
        if isinstance(self.task, Clustering):
            return torch.cat([self.x().flatten(1), torch.zeros(B, 1)], 1)
        return drawn(self.inputs, 11) if isinstance(self.task, LanguageModelling) else drawn(())

    def __str__(self) -> str:
        return "-".join([self.name, *map(str, self.options.values())])


THREE, TWO = Classification(3), Classification(2)
TESTED = [
    Case("linear", IMAGE, THREE),
    Case("mlp", IMAGE, THREE, options={"hidden": (16, 16), "residual": True, "activation": "tanh"}),
    Case("convnet", IMAGE, THREE, options={"channels": (4, 8)}),
    Case("resnet", IMAGE, THREE, options={"width": 4}),
    Case("conv1d", SERIES, THREE, options={"channels": (4,), "norm": "batch"}),
    Case("conv1d", (9,), THREE, options={"channels": (4,), "pool": "none"}),
    Case("matrix_factorization", (2,), Recommendation(), (11, 11)),
    Case("autoencoder", IMAGE, Clustering(64), options={"hidden": (16,)}),
    Case("transformer", TEXT, TWO, (11,)),
    Case("transformer", SERIES, TWO, options={"layers": 1}),
    Case("gru", TEXT, TWO, (11,)),
    Case("gru", SERIES, TWO, options={"layers": 2, "pool": "mean"}),
    Case("lstm", TEXT, TWO, (11,), {"pool": "mean"}),
    Case("language_model", TEXT, LanguageModelling(11), (11,)),
]
# Models of texts, whose masks and padding an export must keep, and one of pictures.
EXPORTED = [case for case in TESTED if case.inputs == TEXT or case.name == "convnet"]


def test_every_model_is_tested_and_has_its_keys() -> None:
    assert {case.name for case in TESTED} == set(MODELS) == set(STOCK)
    for name, maker in MODELS.items():
        given = inspect.signature(maker).parameters
        options = {key: each.default for key, each in given.items() if key not in ("inputs", "outputs", "vocabulary")}
        assert {key: each.default for key, each in STOCK[name].model_fields.items()} == options, name


@pytest.mark.parametrize("case", TESTED, ids=str)
def test_outputs_fit_the_task_and_every_parameter_learns(case: Case) -> None:
    torch.manual_seed(0)
    module = case.build()
    out = module(case.x())
    wanted = case.task.shape(B)
    assert all(size in (None, found) for size, found in zip(wanted, out.shape, strict=True))
    case.task.loss(out, case.task.encode(case.y())).mean().backward()
    idle = [name for name, each in module.named_parameters() if each.grad is None]
    assert not idle


@pytest.mark.parametrize("case", TESTED, ids=str)
def test_a_packed_step_is_the_step_of_stock_torch(case: Case) -> None:
    training = Training(1, B, "sgd", RATE, 0.0, (0.9, 0.999), "constant", False)
    rules = tuple(all_regularizers()[name] for name in ("l2", "dropout"))
    program = Program(case.build, case.task, rules if program_has_sites(case) else rules[:1], training)
    x, y = case.x(), case.y()
    program.check(x)
    pack = Pack(program, Data(x, y, x, y), 2)
    for slot in (0, 1):
        pack.load(slot, Load(slot, {}, slot + 5))
    before = pack.weights(1)
    pack.step(torch.arange(B).expand(2, -1), pack.plan(1)[0])
    stock = case.build()
    stock.load_state_dict({name.removeprefix("stock."): value for name, value in before.items()}, strict=False)
    stock.train()
    case.task.loss(stock(x), case.task.encode(y)).mean().backward()
    after = pack.weights(1)
    for name, each in stock.named_parameters():
        assert each.grad is not None
        wanted = (each - RATE * each.grad).detach()
        torch.testing.assert_close(after[f"stock.{name}"], wanted, rtol=TOLERANCE, atol=TOLERANCE)
    buffers = {name: value for name, value in stock.named_buffers() if value.is_floating_point()}
    for name, value in buffers.items():
        torch.testing.assert_close(after[f"stock.{name}"], value, rtol=TOLERANCE, atol=TOLERANCE)


def program_has_sites(case: Case) -> bool:
    return case.name not in ("linear",)


@pytest.mark.parametrize("pool", ["last", "mean"])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_what_padding_says_does_not_change_a_mean(cell: str, pool: str) -> None:
    torch.manual_seed(0)
    module = MODELS[cell](inputs=TEXT, outputs=2, vocabulary=(11,), pool=pool).eval()
    text = torch.tensor([[0, 0, 0, 4, 5, 6, 7]])
    states = module.recurrent(module.embedding(text))[0][0]
    pooled = states[-1] if pool == "last" else states[3:].mean(0)
    torch.testing.assert_close(module(text)[0], module.head(pooled))


def test_no_position_attends_to_padding() -> None:
    torch.manual_seed(0)
    module = MODELS["transformer"](inputs=TEXT, outputs=2, vocabulary=(11,)).eval()
    text = torch.tensor([[0, 0, 0, 4, 5, 6, 7]])
    before = module(text)
    with torch.no_grad():
        module.embedding.weight[0] += 5.0
        module.position[:3] += 5.0
    torch.testing.assert_close(module(text), before)
    with torch.no_grad():
        module.position[3] += torch.arange(32)
    assert not torch.allclose(module(text), before)
    assert torch.isfinite(module(torch.zeros(1, 7, dtype=torch.int64))).all(), "a row of padding alone"


def test_unknown_users_and_items_get_the_mean() -> None:
    torch.manual_seed(0)
    module = MODELS["matrix_factorization"](inputs=(2,), outputs=1, vocabulary=(5, 6))
    assert float((module(torch.tensor([[0, 0]])) - module.mean_bias).detach()) == 0.0
    module(torch.tensor([[0, 3], [2, 0], [2, 3]])).sum().backward()
    assert float(module.user.weight.grad[0].abs().sum() + module.item_bias.weight.grad[0].abs().sum()) == 0.0
    assert float(module.user.weight.grad[2].abs().sum()) > 0


@pytest.mark.parametrize("case", EXPORTED, ids=str)
def test_a_model_can_be_exported_for_any_number_of_rows(case: Case) -> None:
    module = case.build().eval()
    x = case.x()
    program = export_rows(module, x[:4]).module()
    torch.testing.assert_close(program(x), module(x))


Bad = tuple[str, dict[str, Any], tuple[int, ...], str]
BAD: list[Bad] = [
    ("convnet", {}, (64,), "data.shape"),
    ("resnet", {}, (8, 8), "data.shape"),
    ("convnet", {"channels": ()}, IMAGE, "model.channels"),
    ("conv1d", {"kernel": 4}, SERIES, "model.kernel"),
    ("transformer", {"width": 30}, SERIES, "model.heads"),
    ("gru", {}, IMAGE, "series"),
    ("matrix_factorization", {}, (2,), "recommendation"),
    ("language_model", {}, TEXT, "language_modelling"),
    ("mlp", {"vocabulary": (11,)}, TEXT, "takes numbers, not codes"),
]


@pytest.mark.parametrize(("name", "options", "inputs", "says"), BAD)
def test_rows_that_do_not_fit_a_model_are_refused(
    name: str, options: dict[str, Any], inputs: tuple[int, ...], says: str
) -> None:
    with pytest.raises(UserError, match=says):
        build_model(name, None, options, inputs, 2, "")
