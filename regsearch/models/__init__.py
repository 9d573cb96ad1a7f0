"""The models that come with regsearch, and the way to a user's own: each is a stock `nn.Module`.

Legend: F inputs, C outputs.
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from torch import nn

from regsearch.errors import UserError

_ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}
_NORMS = {"none": None, "batch": nn.BatchNorm1d, "layer": nn.LayerNorm}


def linear(inputs: tuple[int, ...], outputs: int) -> nn.Module:
    """x W^T + b, inputs flattened."""
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(inputs), outputs))


def mlp(
    inputs: tuple[int, ...],
    outputs: int,
    hidden: Sequence[int] = (128, 128),
    activation: str = "relu",
    norm: str = "none",
) -> nn.Module:
    """Fully connected layers of the widths `hidden`, each followed by its norm (none, batch, layer) and activation."""
    _choice("model.activation", activation, _ACTIVATIONS)
    _choice("model.norm", norm, _NORMS)
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise([math.prod(inputs), *hidden]):
        layers.append(nn.Linear(before, after))
        kind = _NORMS[norm]
        if kind is not None:
            layers.append(kind(after))
        layers.append(_ACTIVATIONS[activation]())
    width = hidden[-1] if hidden else math.prod(inputs)
    return nn.Sequential(*layers, nn.Linear(width, outputs))


MODELS: dict[str, Callable[..., nn.Module]] = {"linear": linear, "mlp": mlp}


def build_model(
    name: str | None, factory: str | None, options: dict[str, Any], inputs: tuple[int, ...], outputs: int, folder: str
) -> nn.Module:
    """A fresh module with freshly drawn weights: `name` from `MODELS`, or what `factory` ("module:callable") returns.

    Raises:
        UserError: unknown name, a factory that cannot be imported or fails, or one that returns no `nn.Module`.
    """
    maker = _choice("model.name", name, MODELS) if factory is None else _import(factory, folder)
    try:
        module = maker(inputs=inputs, outputs=outputs, **options)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"the model could not be built: {type(error).__name__}: {error}",
            key="model.factory" if factory else "model",
            value=factory or name,
            allowed="a callable that takes inputs, outputs and the other model keys",
        ) from error
    if not isinstance(module, nn.Module) or not list(module.parameters()):
        raise UserError("the factory must return an nn.Module with parameters", key="model.factory", value=factory)
    return module


def _choice(key: str, value: Any, among: dict[str, Any]) -> Any:
    if value not in among:
        raise UserError("not known", key=key, value=value, allowed="allowed are " + ", ".join(among))
    return among[value]


def _import(factory: str, folder: str) -> Callable[..., Any]:
    module, _, name = factory.partition(":")
    for place in (".", folder):
        if place not in sys.path:
            sys.path.insert(0, place)
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except Exception as error:
        raise UserError(
            f"cannot be imported: {type(error).__name__}: {error}",
            key="model.factory",
            value=factory,
            allowed="module:callable, found from the study file's folder or the working directory",
        ) from error
    return found
