"""What a module keeps from one forward pass to the next, beside its registered buffers."""

from __future__ import annotations

import torch
from torch import nn

from regsearch.errors import UserError

_OWN = frozenset(vars(nn.Module()))
_DEPTH = 3


def refuse_hidden_state(module: nn.Module, rows: torch.Tensor) -> None:
    """Refuse a module whose forward pass in training changes a plain attribute or a parameter, or makes a buffer, drops
    one or gives it another shape or type.

    Such state would leak from trial to trial. It is looked for by one pass over `rows` [N, F...]; a module that fails
    on them is not judged here.

    Raises:
        UserError: names the module and the attribute.
    """
    module.train()
    before, buffers = _kept(module), _forms(module)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            module(rows)
    except Exception:  # it is refused with its reason where outputs are checked
        return
    _refuse_change(
        module,
        (before, _kept(module)),
        "the forward pass changes what is no registered buffer",
        "keep it in a buffer (register_buffer), or do without it: trials must not see one another",
    )
    _refuse_change(
        module,
        (buffers, _forms(module)),
        "the forward pass makes this buffer, drops it, or changes its shape or type",
        "register it with the shape and type that it keeps",
    )


def _refuse_change(
    module: nn.Module, forms: tuple[dict[str, object], dict[str, object]], what: str, allowed: str
) -> None:
    """Refuse the first place, by name, that differs between what was found before and after."""
    before, after = forms
    for place in sorted(before.keys() | after.keys()):
        if before.get(place) != after.get(place):
            raise UserError(what, key="model", value=f"{type(module).__name__}.{place}", allowed=allowed)


def _forms(module: nn.Module) -> dict[str, object]:
    return {name: (tuple(value.shape), value.dtype) for name, value in module.named_buffers()}


def _kept(module: nn.Module) -> dict[str, object]:
    state: dict[str, object] = {}
    for prefix, part in module.named_modules():
        lead = f"{prefix}." if prefix else ""
        for name, value in vars(part).items():
            if name not in _OWN:
                state[lead + name] = _mark(value, _DEPTH)
        for name, parameter in part.named_parameters(recurse=False):
            state[lead + name] = _mark(parameter, _DEPTH)
    return state


def _mark(value: object, depth: int) -> object:
    """Something that differs where the value was changed or replaced."""
    if isinstance(value, torch.Tensor):
        return (id(value), value._version)
    if isinstance(value, int | float | str | bool | None):
        return value
    if depth and isinstance(value, dict):
        return {str(key): _mark(each, depth - 1) for key, each in value.items()}
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [_mark(each, depth - 1) for each in value]
    return id(value)
