"""What the author of a module says of its parameters and packs cannot honour."""

from __future__ import annotations

import torch
from torch import nn

from regsearch.errors import UserError


def refuse_parameters(module: nn.Module) -> None:
    """Refuse a module with a parameter that would not be trained as stock torch trains it, or with none to train.

    Parameters that are one object are one: they are tied. Such as merely share memory would drift apart.

    Raises:
        UserError: names the parameter.
    """
    named = dict(module.named_parameters())
    if named and not any(each.requires_grad for each in named.values()):
        raise UserError(
            f"every parameter of the model is frozen (requires_grad is False), so there is nothing to train, "
            f"from {next(iter(named))} on",
            key="model",
            value=type(module).__name__,
            allowed="leave the last layer trainable",
        )
    places: dict[tuple[torch.device, int], str] = {}
    for name, parameter in named.items():
        if isinstance(parameter, nn.UninitializedParameter):
            raise _refused(name, "has no shape yet", "build the layer with its sizes instead of a lazy one")
        if parameter.dtype != torch.float32:
            what = "to a float32 parameter" if parameter.is_floating_point() else "into a buffer (register_buffer)"
            raise _refused(name, f"is of {parameter.dtype}, and float32 is what is trained", f"turn it {what}")
        if parameter._backward_hooks or parameter._post_accumulate_grad_hooks:
            why = "has a hook on its gradient, which packs do not call"
            raise _refused(name, why, "change the parameter in the forward pass instead, as a masked copy of it")
        other = places.setdefault((parameter.device, parameter.data_ptr()), name) if parameter.numel() else name
        if other != name:
            why = f"shares its memory with {other}, but is another parameter"
            raise _refused(name, why, "tie them by assigning the parameter itself, transposed in the forward pass")


def _refused(name: str, what: str, allowed: str) -> UserError:
    return UserError(f"the parameter {name} {what}", key="model", allowed=allowed)
