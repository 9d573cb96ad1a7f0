"""What torch's functions do inside a packed model: dropout is a site, and slow operations take their lifted form.

A model calls the same functions whether through its layers or in a forward pass of its own, hence the calls are
replaced, not the layers.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from functools import partial
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from regsearch.core.layers.attention import linear, multi_head_attention, scaled_dot_product_attention
from regsearch.core.layers.convolution import convolve
from regsearch.core.layers.embedding import embedding_bag
from regsearch.core.layers.recurrent import gru, lstm


class Visit(Protocol):
    """Called with the kind of a site, what passes there, the author's dropout rate, and whether these are hidden
    activations rather than the weights of an attention."""

    def __call__(self, kind: str, h: torch.Tensor, rate: float = 0.0, *, hidden: bool = True) -> torch.Tensor: ...


ACTIVATIONS = (nn.ReLU, nn.Tanh, nn.GELU, nn.SiLU, nn.ELU, nn.LeakyReLU, nn.Sigmoid)
_DROPOUTS: dict[Hashable, bool] = {
    # Whether the function drops unless it is told not to.
    F.dropout: True,
    F.alpha_dropout: False,
    F.dropout1d: True,
    F.dropout2d: True,
    F.dropout3d: True,
    F.feature_alpha_dropout: False,
    torch.dropout: True,
    torch.feature_dropout: True,
    torch.alpha_dropout: True,
    torch.feature_alpha_dropout: True,
}
_FUNCTIONAL_ACTIVATIONS: frozenset[Hashable] = frozenset(
    {F.relu, torch.relu, torch.Tensor.relu, F.gelu, F.silu, F.elu, F.leaky_relu, torch.tanh, torch.Tensor.tanh, F.tanh}
)
_WITH_SITES: dict[Hashable, Callable[..., object]] = {
    # Replacements that hold sites take what to do there first.
    F.multi_head_attention_forward: multi_head_attention,
    F.scaled_dot_product_attention: scaled_dot_product_attention,
    torch.gru: gru,
    torch.lstm: lstm,
}
_REPLACED: dict[Hashable, Callable[..., object]] = {
    F.linear: linear,
    F.conv1d: convolve,
    F.conv2d: convolve,
    F.conv3d: convolve,
    F.embedding_bag: embedding_bag,
}
_ANY_PRECISION = frozenset({F.linear, F.multi_head_attention_forward, F.scaled_dot_product_attention})
"""Of the replacements, those made of torch's own products, which follow the precision of the pass."""
_CONVOLUTIONS = frozenset({F.conv1d, F.conv2d, F.conv3d})
_IN_PLACE: dict[Hashable, Callable[..., torch.Tensor]] = {
    # `vmap` runs these trial by trial, but not their forms that make a new tensor.
    torch.Tensor.lerp_: torch.lerp,
    torch.Tensor.addcmul_: torch.addcmul,
    torch.Tensor.addcdiv_: torch.addcdiv,
    torch.Tensor.clamp_: torch.clamp,
}


class Interception(TorchFunctionMode):
    """Replace calls of torch's functions during a forward pass.

    Args:
        visit: called at each dropout and each functional activation; what it returns goes on through the model.
        training: whether this is a pass in training. In evaluation nothing is dropped, but the places are still
            visited, because normalization acts there in both.

    Attributes:
        convolved: whether the last product was a convolution; its units lie along axis 1, others' along the last.
    """

    def __init__(self, visit: Visit, training: bool) -> None:
        super().__init__()
        self._visit, self._training = visit, training
        self.convolved = False

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        kwargs = kwargs or {}
        if func in _DROPOUTS:
            return self._dropout(_DROPOUTS[func], *args, **kwargs)
        packed = partial(_WITH_SITES[func], self._at_rate) if func in _WITH_SITES else _REPLACED.get(func)
        if func in _CONVOLUTIONS and torch.get_default_device().type != "cpu":
            packed = None  # on a GPU `vmap` makes one grouped convolution, which is fast
        if packed is not None:
            self.convolved = func in _CONVOLUTIONS
            try:
                return packed(*args, **kwargs) if func in _ANY_PRECISION else _in_float32(packed, args, kwargs)
            except NotImplementedError:
                if torch._C._functorch.peek_interpreter_stack() is not None:
                    raise  # a pack cannot have it; a trial alone has the stock function
                return func(*args, **kwargs)
        if func in _IN_PLACE:
            return args[0].copy_(_IN_PLACE[func](*args, **kwargs))
        out = func(*args, **kwargs)
        return self._visit("function", out) if func in _FUNCTIONAL_ACTIVATIONS else out

    def _at_rate(self, h: torch.Tensor, rate: float, drops: bool = True, hidden: bool = True) -> torch.Tensor:
        return self._visit("dropout", h, rate, hidden=hidden) if drops or not self._training else h

    def _dropout(
        self,
        default: bool,
        input: torch.Tensor,
        p: float = 0.5,
        training: bool | None = None,
        inplace: bool = False,
        train: bool | None = None,
    ) -> torch.Tensor:
        mode = training if train is None else train
        return self._at_rate(input, float(p), default if mode is None else mode)


def _in_float32(packed: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]) -> object:
    """What a replacement that is written for float32 makes of such, whatever the precision of the pass."""
    device = torch.get_default_device().type
    if not torch.is_autocast_enabled(device):
        return packed(*args, **kwargs)

    def full(each: object) -> object:
        return each.float() if isinstance(each, torch.Tensor) and each.is_floating_point() else each

    with torch.autocast(device, enabled=False):
        return packed(*tree_map(full, args), **tree_map(full, kwargs))
