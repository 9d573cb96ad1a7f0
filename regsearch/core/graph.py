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

from regsearch.core.layers.recurrent import COMPILED
from regsearch.core.trace import Leaves, NotGeneric, any_width, resized, trace

# How far a compiled graph may be from the graph itself, by the norm of each result. Not entry by entry: Adam's first
# step has the size of the learning rate even where a gradient is nothing but rounding.
_AGREE = 1e-2
# No other size of a graph is likely to be one of these.
_EXAMPLE_WIDTHS = (11, 13)


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
        self._graphs: dict[Hashable, dict[int, GraphModule]] = {}
        self._any_width: dict[Hashable, Callable[..., Any]] = {}
        self._why: dict[Hashable, str] = {}
        self._result: TreeSpec | None = None
        self.traces = 0

    def __call__(self, *arguments: Any, shape: Hashable = None) -> Any:
        """The results for these arguments; `shape` tells apart sizes other than T."""
        leaves, spec = tree_flatten(arguments)
        graph = self._any_width.get(shape)
        with torch.no_grad():
            if graph is None:
                graph = self._of_width(len(leaves[0]), leaves, spec, arguments, shape)
            results = graph(*leaves)
        return None if self._into is not None else tree_unflatten(list(results), self._result)  # type: ignore[arg-type]

    def _of_width(
        self, width: int, leaves: Leaves, spec: TreeSpec, arguments: tuple[Any, ...], shape: Hashable
    ) -> Callable[..., Any]:
        """The graph for this width; the second width of a shape gives one for all."""
        known = self._graphs.setdefault(shape, {})
        if width in known:
            return known[width]

        def recorded(*given: Any) -> Any:
            results = self._function(*given)
            self._result = tree_flatten(results)[1]
            return results

        self.traces += 1
        known[width] = trace(recorded, resized(leaves, width), spec, self._positions(arguments))
        if len(known) == 2:
            (one, first), (other, second) = known.items()
            try:
                self._any_width[shape] = any_width(first, second, (one, other))
            except NotGeneric as error:
                self._why[shape] = str(error)
        return known[width]

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
        with torch.no_grad():
            for width in _EXAMPLE_WIDTHS:
                if shape not in self._any_width:
                    self._of_width(width, leaves, spec, arguments, shape)
            if shape not in self._any_width:
                raise CannotCompile(f"the model's graph depends on the pack width: {self._why[shape]}")
            written = self._positions(arguments) or ()
            self._any_width[shape] = _compiled(self._any_width[shape], leaves, written)  # type: ignore[arg-type]

    def forget(self) -> None:
        """Trace anew, and run operation by operation."""
        self._graphs.clear()
        self._any_width.clear()
        self._why.clear()


def _compiled(graph: GraphModule, leaves: Leaves, written: Sequence[int]) -> Callable[..., Any]:
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

    ours, theirs = resized(leaves, _EXAMPLE_WIDTHS[0]), resized(leaves, _EXAMPLE_WIDTHS[0])
    expected = list(graph(*ours))
    try:
        for node in graph.graph.nodes:
            node.target = COMPILED.get(node.target, node.target)
        graph.recompile()
        with config.patch(size_asserts=False):
            inputs: list[Any] = [of_any_width(each) for each in theirs]
            made: Any = compile_fx(graph, inputs)
        found = list(made(*theirs))
    except Exception as error:  # whatever the compiler trips over, the graph itself still runs
        why = (str(error).splitlines() or [""])[0]
        raise CannotCompile(f"the compiler failed: {type(error).__name__}: {why}") from error
    _check([*expected, *(ours[k] for k in written)], [*found, *(theirs[k] for k in written)])
    return made  # type: ignore[no-any-return]


def _check(expected: Leaves, found: Leaves) -> None:
    for one, other in zip(expected, found, strict=True):
        one, other = torch.nan_to_num(one.double()), torch.nan_to_num(other.double())
        if torch.linalg.vector_norm(one - other) > _AGREE * torch.linalg.vector_norm(one) + 1e-12:
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
