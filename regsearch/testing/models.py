"""Cases of every kind of model beside the MLP: pictures, series, rows of codes, ratings; all as small as still shows.

Legend: N rows, L positions, F features.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from regsearch.core.pack import Data
from regsearch.core.training import Training
from regsearch.models.attention import transformer
from regsearch.models.convolution import convnet
from regsearch.models.dense import linear
from regsearch.models.factorization import matrix_factorization
from regsearch.models.recurrent import gru, lstm
from regsearch.regularizers import page
from regsearch.tasks import Classification, Recommendation, Task
from regsearch.testing.cases import Case, Rule, mlp_case, residual_case

_ROWS, _CLASSES, _CODES = 32, 3, 11
_SERIES, _TEXT = (5, 3), (5,)
_TRAINING = Training(4, 16, "sgd", 0.02, 0.9, (0.9, 0.999), "constant", False)


def _classified(shape: tuple[int, ...], codes: int = 0) -> Data:
    """Random rows [2 N, *shape] of three noisy classes, or of codes of which each class has some more often."""
    draw = torch.Generator().manual_seed(7)
    y = torch.arange(2 * _ROWS) % _CLASSES
    if codes:
        x = torch.randint(0, codes, (2 * _ROWS, *shape), generator=draw)
        x = torch.where(torch.rand(x.shape, generator=draw) < 0.3, 1 + y.unsqueeze(1), x)
    else:
        x = torch.randn(2 * _ROWS, *shape, generator=draw) + torch.randn(_CLASSES, *shape, generator=draw)[y]
    return Data(x[:_ROWS], y[:_ROWS], x[_ROWS:], y[_ROWS:])


def _rated() -> Data:
    """Random pairs (user, item) and their ratings."""
    draw = torch.Generator().manual_seed(7)
    x, y = torch.randint(0, _CODES, (2 * _ROWS, 2), generator=draw), torch.randn(2 * _ROWS, generator=draw)
    return Data(x[:_ROWS], y[:_ROWS], x[_ROWS:], y[_ROWS:])


def _case(
    name: str,
    build: Callable[[], nn.Module],
    sites: tuple[str, ...],
    data: Data,
    task: Task | None = None,
    branches: tuple[str, ...] = (),
) -> Case:
    return Case(name, build, sites, task or Classification(_CLASSES), data, _TRAINING, branches)


@functools.cache
def linear_case() -> Case:
    """Make a case of a linear model of series, which has no hidden activations."""
    return _case("linear", functools.partial(linear, _SERIES, _CLASSES), (), _classified(_SERIES))


@functools.cache
def convnet_case() -> Case:
    """Make a case of two convolutions with pooling on pictures of one channel."""
    build = functools.partial(convnet, (1, 6, 6), _CLASSES, channels=(3, 5))
    return _case("convnet", build, ("dropout",), _classified((1, 6, 6)))


@functools.cache
def recurrent_case(cell: str = "gru", codes: bool = False) -> Case:
    """Make a case of a GRU or LSTM classifier of series [L, F], or of rows of codes [L]."""
    build = functools.partial(
        {"gru": gru, "lstm": lstm}[cell],
        _TEXT if codes else _SERIES,
        _CLASSES,
        vocabulary=(_CODES,) if codes else None,
        embedding=6,
        hidden=7,
    )
    data = _classified(_TEXT, _CODES) if codes else _classified(_SERIES)
    return _case(f"{cell}-codes" if codes else cell, build, ("input_dropout", "dropout"), data)


@functools.cache
def transformer_case(codes: bool = False) -> Case:
    """Make a case of a Transformer encoder of one block on series [L, F], or on rows of codes [L]."""
    build = functools.partial(
        transformer,
        _TEXT if codes else _SERIES,
        _CLASSES,
        vocabulary=(_CODES,) if codes else None,
        width=6,
        heads=2,
        layers=1,
        inner=9,
    )
    data = _classified(_TEXT, _CODES) if codes else _classified(_SERIES)
    sites = ("dropout", "blocks.0.attention_dropout", "blocks.0.inner.3")
    branches = ("blocks.0.attention_branch", "blocks.0.inner_branch")
    return _case("transformer-codes" if codes else "transformer", build, sites, data, branches=branches)


@functools.cache
def factorization_case() -> Case:
    """Make a case of matrix factorization on pairs of codes, whose targets are numbers."""
    build = functools.partial(matrix_factorization, (2,), 1, vocabulary=(_CODES, _CODES), factors=5)
    return _case("matrix_factorization", build, ("dropout",), _rated(), Recommendation())


CASES: dict[str, Callable[[], Case]] = {
    "linear": linear_case,
    "mlp": mlp_case,
    "residual": residual_case,
    "convnet": convnet_case,
    "gru": recurrent_case,
    "gru-codes": functools.partial(recurrent_case, codes=True),
    "lstm": functools.partial(recurrent_case, "lstm"),
    "transformer": transformer_case,
    "transformer-codes": functools.partial(transformer_case, codes=True),
    "matrix_factorization": factorization_case,
}
"""Each model that rules are tested on, by its name."""


def exclusion(rule: Rule, case: Case) -> str | None:
    """Say why a rule cannot act on this model, by the table of the page of regularizers and by what it says of itself;
    None where it can.
    """
    table = [(where, why) for name, where, why in page.DOES_NOT_APPLY if name in (rule.name, rule.site)]
    needs = [(where, why) for attribute, where, why in _NEEDS if getattr(rule, attribute)]
    return next((why for where, why in (*table, *needs) if WHERE[where](case)), None)


def _holds(case: Case, *kinds: type[nn.Module]) -> bool:
    return any(isinstance(part, kinds) for part in case.build().modules())


WHERE: dict[str, Callable[[Case], bool]] = {
    "rows of codes": lambda case: not case.data.train_x.is_floating_point(),
    "tasks without classes": lambda case: not case.task.distributions,
    "models without hidden activations": lambda case: not case.sites,
    'models without Site("residual")': lambda case: not case.branches,
    "models with convolutions or recurrent layers": lambda case: _holds(case, _ConvNd, nn.RNNBase),
}
"""What the words mean that `DOES_NOT_APPLY` says where by."""

_NEEDS = (
    ("needs_classes", "tasks without classes", "it means nothing where numbers are predicted"),
    ("needs_numbers", "rows of codes", "codes are nothing that it could act on"),
)
"""What a rule says of itself, the user's own too: (attribute, where, reason)."""
