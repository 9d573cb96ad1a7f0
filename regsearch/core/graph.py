"""A function of one trial as a graph over the trials of a pack: traced once, and compiled where asked for.

Legend: T trials.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch.fx import GraphModule
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from regsearch.core.trace import NotGeneric, resized, trace, trace_any_width

# How far a compiled graph may be from the same graph run operation by operation, both in float32; see `_check`.
_AGREE = 1e-3
_EXAMPLE_WIDTH = 6


class CannotCompile(Exception):
    """Why a graph runs operation by operation."""


def compiler() -> str | None:
    """The C++ compiler that torch would use on a CPU, or None."""
    named = (os.environ.get("CXX"), "g++", "clang++")
    return next((name for name in named if name and shutil.which(name)), None)


class PackFunction:
    """`vmap(function)` over trees of tensors [T, ...].

    Args:
        function: maps one trial's tensors to tensors.
        into: where given, the indices of the arguments that the results replace, in place; nothing is returned.
    """

    def __init__(self, function: Callable[..., Any], into: Sequence[int] | None = None) -> None:
        self._function, self._into = function, into
        self._graphs: dict[Hashable, Callable[..., Any]] = {}
        self._result: TreeSpec | None = None
        self.traces = 0

    def __call__(self, *arguments: Any, shape: Hashable = None) -> Any:
        """The results for these arguments; `shape` tells apart sizes other than T."""
        leaves, spec = tree_flatten(arguments)
        key = shape if shape in self._graphs else (shape, len(leaves[0]))
        with torch.no_grad():
            if key not in self._graphs:
                self._graphs[key] = self._traced(trace, resized(leaves, len(leaves[0])), spec, arguments)
            results = self._graphs[key](*leaves)
        return None if self._into is not None else tree_unflatten(list(results), self._result)  # type: ignore[arg-type]

    def _traced(
        self,
        how: Callable[..., GraphModule],
        leaves: Sequence[torch.Tensor],
        spec: TreeSpec,
        arguments: tuple[Any, ...],
    ) -> GraphModule:
        def recorded(*given: Any) -> Any:
            results = self._function(*given)
            self._result = tree_flatten(results)[1]
            return results

        self.traces += 1
        return how(recorded, leaves, spec, self._positions(arguments))

    def _positions(self, arguments: tuple[Any, ...]) -> list[int] | None:
        """Where the leaves of the replaced arguments stand among all leaves."""
        if self._into is None:
            return None
        starts = [0]
        for each in arguments:
            starts.append(starts[-1] + len(tree_flatten(each)[0]))
        return [position for index in self._into for position in range(starts[index], starts[index + 1])]

    def compile(self, *arguments: Any, shape: Hashable = None) -> None:
        """Run the graph for arguments like these compiled from now on; nothing is written into them.

        Raises:
            CannotCompile: there is no compiler, or it fails, or what it made computes something else.
        """
        leaves, spec = tree_flatten(arguments)
        if leaves[0].device.type == "cpu" and compiler() is None:
            raise CannotCompile("there is no C++ compiler")
        leaves = resized(leaves, _EXAMPLE_WIDTH)
        with torch.no_grad():
            try:
                graph = self._traced(trace_any_width, leaves, spec, arguments)
            except NotGeneric as error:
                raise CannotCompile(f"the model's graph depends on the pack width: {error}") from error
            self._graphs[shape] = _compiled(graph, leaves, self._positions(arguments) or ())

    def forget(self) -> None:
        """Trace anew, and run operation by operation."""
        self._graphs.clear()


def _compiled(graph: GraphModule, leaves: Sequence[torch.Tensor], written: Sequence[int]) -> Callable[..., Any]:
    """The graph compiled by Inductor for any width, checked once against the graph itself.

    Inductor is called without Dynamo, whose guards on every argument would cost a fifth of a small pack's step.
    """
    from torch._inductor import config
    from torch._inductor.compile_fx import compile_fx
    from torch._subclasses import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

    _mend_inductor()
    mode = FakeTensorMode(shape_env=ShapeEnv())

    def of_any_width(each: torch.Tensor) -> torch.Tensor:
        sizes = [DimDynamic.DUCK] + [DimDynamic.STATIC] * (each.dim() - 1)
        return mode.from_tensor(each, symbolic_context=StatelessSymbolicContext(dynamic_sizes=sizes))

    ours, theirs = resized(leaves, _EXAMPLE_WIDTH), resized(leaves, _EXAMPLE_WIDTH)
    expected = list(graph(*ours))
    try:
        with config.patch(size_asserts=False):
            inputs: list[Any] = [of_any_width(each) for each in theirs]
            made: Any = compile_fx(graph, inputs)
        found = list(made(*theirs))
    except Exception as error:  # whatever the compiler trips over, the graph itself still runs
        why = (str(error).splitlines() or [""])[0]
        raise CannotCompile(f"the compiler failed: {type(error).__name__}: {why}") from error
    _check([*expected, *(ours[k] for k in written)], [*found, *(theirs[k] for k in written)])
    return made  # type: ignore[no-any-return]


def _check(expected: Sequence[torch.Tensor], found: Sequence[torch.Tensor]) -> None:
    for one, other in zip(expected, found, strict=True):
        scale = one.abs().max() if one.numel() and one.is_floating_point() else torch.tensor(1.0)
        if not torch.allclose(other, one, rtol=_AGREE, atol=_AGREE * float(scale), equal_nan=True):
            raise CannotCompile("the compiled graph computes something else than the graph")


def _mend_inductor() -> None:
    """Let Inductor's check for buffers of one loop nest pass over users that only write a buffer, where it fails.

    Such a user, of a buffer that is updated in place, has no read expression; it then is none that stays in the nest.
    """
    from torch._inductor import loop_body

    original = loop_body.LoopBody.get_read_expr
    if getattr(original, "mended", False):
        return

    def get_read_expr(self: Any, buffer_name: str) -> Any:
        try:
            return original(self, buffer_name)  # type: ignore[no-untyped-call]
        except KeyError:
            return None

    get_read_expr.mended = True  # type: ignore[attr-defined]
    loop_body.LoopBody.get_read_expr = get_read_expr  # type: ignore[method-assign]
