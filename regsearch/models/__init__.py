"""The models that come with regsearch, and the way to a user's own: each is a stock `nn.Module`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping

from torch import nn

from regsearch.errors import UserError, one_of_these, said_by
from regsearch.models.attention import transformer
from regsearch.models.autoencoder import autoencoder
from regsearch.models.convolution import conv1d, convnet, resnet
from regsearch.models.dense import linear, mlp
from regsearch.models.factorization import matrix_factorization
from regsearch.models.recurrent import gru, language_model, lstm
from regsearch.models.state import refuse_hidden_state

_ALL: tuple[Callable[..., nn.Module], ...] = (
    linear,
    mlp,
    convnet,
    resnet,
    conv1d,
    gru,
    lstm,
    transformer,
    language_model,
    matrix_factorization,
    autoencoder,
)
MODELS: dict[str, Callable[..., nn.Module]] = {each.__name__: each for each in _ALL}
_OF_CODES = ("gru", "lstm", "transformer", "language_model", "matrix_factorization")


def build_model(
    name: str | None,
    factory: str | None,
    options: Mapping[str, object],
    inputs: tuple[int, ...],
    outputs: int,
    folder: str,
    advice: str = "",
) -> nn.Module:
    """Build a module with freshly drawn weights: `name` from `MODELS`, or what `factory` ("module:callable") returns.

    Args:
        advice: what a study file may say where the model wants rows of another shape, for refusals.

    Raises:
        UserError: unknown name, a factory that cannot be imported or fails, one that returns no `nn.Module`, or a
            module without parameters.
    """
    maker = one_of_these("model.name", name, MODELS) if factory is None else _import(factory, folder)
    if factory is None and "vocabulary" in options and name not in _OF_CODES:
        allowed = f"for rows of codes, which are whole numbers, allowed are {', '.join(_OF_CODES)}; else make x float"
        raise UserError("takes numbers, not codes", key="model.name", value=name, allowed=allowed)
    try:
        module = maker(inputs=inputs, outputs=outputs, **options)
    except UserError:
        raise
    except Exception as error:
        codes = ", vocabulary" if "vocabulary" in options else ""
        advice = "" if isinstance(error, TypeError) else advice  # which is of its arguments
        raise UserError(
            f"the model could not be built from inputs={inputs}, outputs={outputs}: {said_by(error)}",
            key="model.factory" if factory else "model",
            value=factory or name,
            allowed=f"a callable that takes inputs, outputs{codes} and the other model keys{advice}",
        ) from None
    if not isinstance(module, nn.Module):
        what = f"the factory must return an nn.Module, and returned {type(module).__name__}"
        raise UserError(what, key="model.factory", value=factory)
    if not list(module.parameters()):
        what = f"the model {type(module).__name__} has no parameters, so there is nothing to train"
        raise UserError(what, key="model.factory" if factory else "model.name", value=factory or name)
    return module


def _import(factory: str, folder: str) -> Callable[..., object]:
    module, _, name = factory.partition(":")
    for place in (".", folder):
        if place not in sys.path:
            sys.path.insert(0, place)
    try:
        maker: Callable[..., object] = getattr(importlib.import_module(module), name)
    except Exception as error:
        raise UserError(
            f"cannot be imported: {said_by(error)}",
            key="model.factory",
            value=factory,
            allowed="module:callable, found from the study file's folder or the working directory",
        ) from None
    return maker


__all__ = ["MODELS", "build_model", "linear", "mlp", "refuse_hidden_state"]
