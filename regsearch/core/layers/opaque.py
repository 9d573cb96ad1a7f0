"""Operations that a graph carries whole: written for a pack, called for one trial.

Legend: T trials. Every tensor that goes in or comes out has T as its first axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch._ops import OpOverload
from torch.library import custom_op, register_vmap

Made: TypeAlias = torch.Tensor | tuple[torch.Tensor, ...]
"""What an operation gives."""
Body: TypeAlias = Callable[..., Made]
Operation: TypeAlias = OpOverload[..., Made]
"""An operation that torch knows by name."""
_ALIGNED = 16  # floats: products of matrices that do not start on 64 bytes are not bitwise the same in every slot


def rows(like: torch.Tensor, trials: int, *shape: int) -> torch.Tensor:
    """Allocate memory of shape [T, ...] in which every trial starts on 64 bytes."""
    size = math.prod(shape)
    return like.new_empty(trials, -(-size // _ALIGNED) * _ALIGNED)[:, :size].view(trials, *shape)


def copied(source: torch.Tensor) -> torch.Tensor:
    """Copy source [T, ...] into such memory."""
    return rows(source, *source.shape).copy_(source)


def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Multiply a [T, M, K] by b [T, K, N] into such memory."""
    return torch.bmm(a, b, out=rows(a, a.shape[0], a.shape[1], b.shape[2]))


def opaque(name: str, schema: str, body: Body, shapes: Body) -> Operation:
    """Make the operation `regsearch::name`; `vmap` makes its axis the first one and calls it once.

    Args:
        name, schema: how torch knows it.
        body: computes new tensors from its arguments, T trials at a time.
        shapes: makes empty tensors like them, of the same strides.
    """
    made = custom_op(f"regsearch::{name}", body, mutates_args=(), schema=schema)
    made.register_fake(shapes)

    def lifted(info: Any, in_dims: Sequence[int | None], *arguments: object) -> object:
        def fold(each: object, dim: int | None) -> object:
            if not isinstance(each, torch.Tensor):
                return each
            spread = each.expand(info.batch_size, *each.shape) if dim is None else each.movedim(dim, 0)
            return spread.flatten(0, 1)

        results = made(*(fold(each, dim) for each, dim in zip(arguments, in_dims, strict=True)))

        def unfold(each: torch.Tensor) -> torch.Tensor:
            return torch.unflatten(each, 0, (info.batch_size, -1))

        if isinstance(results, torch.Tensor):
            return unfold(results), 0
        return tuple(unfold(each) for each in results), (0,) * len(results)

    register_vmap(made, lifted)
    operation: Operation = getattr(torch.ops.regsearch, name).default
    return operation


class Back(torch.autograd.Function):
    """Run a backward pass as one operation of its own, so that a transform of functorch meets it as such.

    `Back.apply(operation, *arguments)`, the operation being one that `opaque` made.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(operation: Operation, *given: object) -> Made:
        """Call the operation."""
        return operation(*given)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[object, ...], output: Made) -> None:
        """Save nothing: there is no second derivative."""

    @staticmethod
    def backward(ctx: Any, *slopes: torch.Tensor) -> Made:
        """Refuse a second derivative."""
        raise NotImplementedError("a second derivative of a recurrent layer, a convolution or an embedding bag")
