"""One graph for packs of any width, from the graphs of a function at two of them.

Legend: T trials. Every argument and result has T as its first axis.
"""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ParamSpec, TypeVar

import torch
from torch.fx import GraphModule, Node
from torch.fx.experimental import proxy_tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import TreeSpec, tree_leaves, tree_map, tree_unflatten

from regsearch.core.layers.convolution import FOR_ONE_TRIAL
from regsearch.core.layers.opaque import Operation

Leaves = Sequence[torch.Tensor]
Trees = ParamSpec("Trees")
Result = TypeVar("Result")


def _sigmoid(x: torch.Tensor) -> torch.Tensor:
    return 1 / (1 + torch.exp(-x))


# These have other bits in the vector part of a loop than in its rest; their formulas have not.
_DECOMPOSITIONS: dict[Operation, Callable[..., torch.Tensor]] = {
    torch.ops.aten.sigmoid.default: _sigmoid,
    torch.ops.aten.silu.default: lambda x: x * _sigmoid(x),
    torch.ops.aten.silu_backward.default: lambda g, x: g * _sigmoid(x) * (1 + x * (1 - _sigmoid(x))),
}


class NotGeneric(Exception):
    """Say how the graphs of two widths differ by more than multiples of the width."""


def alone(function: Callable[Trees, Result]) -> Callable[Trees, Result]:
    """Lift a function of one trial to arguments and results of one row, without `vmap`."""

    def of_row(*arguments: Trees.args, **named: Trees.kwargs) -> Result:
        results = function(*tree_map(lambda each: each.squeeze(0), arguments), **named)
        return tree_map(lambda each: each.unsqueeze(0), results)  # type: ignore[no-any-return]

    return of_row


def on_leaves(
    function: Callable[..., object], spec: TreeSpec, into: Sequence[int] | None = None
) -> Callable[..., list[torch.Tensor]]:
    """Turn a function of trees into one of leaves.

    Args:
        function: maps trees of tensors to a tree of tensors.
        spec: of the arguments.
        into: where given, the results are written into the arguments at these positions, and nothing is returned.
    """

    def flat(*given: torch.Tensor) -> list[torch.Tensor]:
        results = tree_leaves(function(*tree_unflatten(list(given), spec)))
        if into is None:
            return results
        for position, result in zip(into, results, strict=True):
            given[position].copy_(result)
        return []

    return flat


def trace(flat: Callable[..., list[torch.Tensor]], leaves: Leaves) -> GraphModule:
    """Trace the graph of a function of leaves, at the width of these; its nodes say nothing of their values."""
    known = {**_DECOMPOSITIONS, **(FOR_ONE_TRIAL if len(leaves[0]) == 1 else {})}
    with _without_values():
        return make_fx(flat, decomposition_table=known)(*leaves)


@contextlib.contextmanager
def _without_values() -> Iterator[None]:
    """Keep `make_fx` from noting a fake tensor of every result: two thirds of its time, and nobody here reads them.

    The compiler does not either: it traces what it is given once more, for itself.
    findings/torch-make-fx-fake-modes.sh shows it.
    """
    noted = proxy_tensor.set_meta
    proxy_tensor.set_meta = lambda proxy, val: proxy
    try:
        yield
    finally:
        proxy_tensor.set_meta = noted


def any_width(first: GraphModule, second: GraphModule, widths: tuple[int, int]) -> GraphModule:
    """Change `first` so that it takes leaves of any width: where a size depends on T, it reads T off its inputs.

    `vmap` takes T for a plain number, so symbolic tracing alone pins it. Here two graphs of one function, traced at two
    widths, are laid side by side; a whole number that differs between them is a multiple of T.

    Raises:
        NotGeneric: the graphs differ otherwise; `first` is as it was.
    """
    nodes, others = list(first.graph.nodes), list(second.graph.nodes)
    if [(node.op, node.target) for node in nodes] != [(node.op, node.target) for node in others]:
        raise NotGeneric("other operations at another width")
    for node, twin in zip(nodes, others, strict=True):
        _refuse_other_differences(node.args, twin.args, widths)
        _refuse_other_differences(tuple(node.kwargs.values()), tuple(twin.kwargs.values()), widths)
    placeholders = [node for node in nodes if node.op == "placeholder"]
    with first.graph.inserting_after(placeholders[-1]):
        width = first.graph.call_function(torch.ops.aten.sym_size.int, (placeholders[0], 0))
    multiples: dict[int, Node] = {1: width}

    def generic(one: Any, other: Any) -> Any:
        if isinstance(one, list | tuple):
            return type(one)(generic(a, b) for a, b in zip(one, other, strict=True))
        if isinstance(one, Node) or one == other:
            return one
        factor = one // widths[0]
        if factor not in multiples:
            with first.graph.inserting_after(width):
                multiples[factor] = first.graph.call_function(operator.mul, (width, factor))
        return multiples[factor]

    for node, twin in zip(nodes, others, strict=True):
        if node.op == "call_function":
            node.args = generic(node.args, twin.args)
            node.kwargs = {key: generic(value, twin.kwargs[key]) for key, value in node.kwargs.items()}
    first.graph.lint()
    first.recompile()
    return first


def _refuse_other_differences(one: object, other: object, widths: tuple[int, int]) -> None:
    if isinstance(one, list | tuple):
        if not isinstance(other, list | tuple) or len(one) != len(other):
            raise NotGeneric("an operation takes other arguments at another width")
        for a, b in zip(one, other, strict=True):
            _refuse_other_differences(a, b, widths)
    elif not isinstance(one, Node) and one != other:
        first, second = widths
        if not isinstance(one, int) or one % first or one // first * second != other:
            raise NotGeneric(f"{one} at width {first} is {other} at width {second}")


def resized(leaves: Leaves, width: int) -> list[torch.Tensor]:
    """Repeat or cut the leaves to `width` rows, in fresh memory, in which rows that are one row stay one.

    A compiled graph finds its numbers by the strides of its example.
    """

    def rows(each: torch.Tensor) -> torch.Tensor:
        if each.stride(0) == 0:
            return each[0].clone().expand(width, *each.shape[1:])
        return each[torch.arange(width) % len(each)].contiguous()

    return [rows(each) for each in leaves]
