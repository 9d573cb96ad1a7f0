"""A function of one trial for all trials of a pack, as a graph: traced once, and compiled where asked for.

Legend: T trials.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeAlias, TypeVar, TypeVarTuple, cast, overload

import torch
from torch.func import vmap
from torch.fx import GraphModule
from torch.utils._pytree import TreeSpec, tree_flatten, tree_leaves, tree_unflatten

from regsearch.core.layers.pooling import decompositions, pools
from regsearch.core.layers.recurrent import COMPILED
from regsearch.core.trace import Leaves, NotGeneric, alone, any_width, on_leaves, resized, trace

# How far a compiled graph may be from the graph itself, by the norm of each result. Not entry by entry: Adam's first
# step has the size of the learning rate even where a gradient is nothing but rounding.
_AGREE = 1e-2
# No other size of a graph is likely to be one of these.
_EXAMPLE_WIDTHS = (11, 13)
_ALIGNED = 64  # bytes

Trees = TypeVarTuple("Trees")
Result = TypeVar("Result")
Run: TypeAlias = Callable[..., Sequence[torch.Tensor]]
"""A function of leaves [T, ...], as a graph or without one."""


class CannotCompile(Exception):
    """Say why a graph runs operation by operation."""


def compiler() -> str | None:
    """Find the C++ compiler that torch would use on a CPU, or None."""
    named = (os.environ.get("CXX"), "g++", "clang++")
    return next((name for name in named if name and shutil.which(name)), None)


class PackFunction(Generic[*Trees, Result]):
    """Run a function of one trial over trees of tensors [T, ...]: lifted by `vmap`, or one trial after the other.

    Args:
        function: maps one trial's tensors to tensors.
        into: where given, picks out of the arguments the trees that the results replace, in place; nothing is returned.
        shape: tells apart, from the arguments, sizes other than T; each shape has a graph of its own.
    """

    @overload
    def __init__(
        self,
        function: Callable[[*Trees], Result],
        into: None = None,
        *,
        shape: Callable[[*Trees], Hashable] | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self: PackFunction[*Trees, None],
        function: Callable[[*Trees], object],
        into: Callable[[*Trees], object],
        *,
        shape: Callable[[*Trees], Hashable] | None = None,
    ) -> None: ...

    def __init__(
        self,
        function: Callable[..., object],
        into: Callable[..., object] | None = None,
        *,
        shape: Callable[..., Hashable] | None = None,
    ) -> None:
        self._function, self._into, self._shape = function, into, shape
        self._alone = self._eager = False
        self._graphs: dict[Hashable, dict[int, GraphModule]] = {}
        self._ready: dict[Hashable, Run] = {}
        """By shape, what runs at every width, or for one trial at a time."""
        self._why: dict[Hashable, str] = {}
        self._result: TreeSpec | None = None
        self._written: Sequence[int] = ()
        """Where the leaves that the results replace stand among all leaves, known once something runs."""
        self.traces = 0

    def one_at_a_time(self, eager: bool = False) -> None:
        """Run for one trial after the other from now on: by the graph of one, or without any if `eager`."""
        self.forget()
        self._alone, self._eager = True, eager

    def __call__(self, *arguments: *Trees) -> Result:
        """Run the function for these arguments."""
        leaves = tree_leaves(arguments)  # a third of what flattening costs, at every step
        shape = self._shape(*arguments) if self._shape else None
        width = len(leaves[0])
        run = self._ready.get(shape) or self._graphs.get(shape, {}).get(width)
        with torch.no_grad():
            run = run or self._made(width, *tree_flatten(arguments), shape)
            results = _in_turn(run, leaves, self._written) if self._alone and width > 1 else run(*leaves)
        result: Result = None if self._into else tree_unflatten(list(results), self._result)  # type: ignore[assignment, arg-type]
        return result

    def try_lifted(self, *arguments: *Trees) -> None:
        """Run the function lifted by `vmap` without making a graph, whose imports take seconds; what it trips over is
        raised as it is.
        """
        leaves, spec = tree_flatten(arguments)
        with torch.no_grad():
            self._lifted(spec)(*leaves)

    def _lifted(self, spec: TreeSpec) -> Callable[..., list[torch.Tensor]]:
        """The function of leaves, for the trials of a pack or one after the other."""

        def recorded(*given: object) -> object:
            results = self._function(*given)
            self._result = tree_flatten(results)[1]
            return results

        lifted = alone(recorded) if self._alone else vmap(recorded)
        if self._into:
            places = tree_unflatten(list(range(spec.num_leaves)), spec)
            self._written = tree_leaves(self._into(*places))
        return on_leaves(lifted, spec, self._written if self._into else None)

    def _made(self, width: int, leaves: Leaves, spec: TreeSpec, shape: Hashable) -> Run:
        """Make what runs at this width; the second width of a shape gives a graph for all."""
        flat = self._lifted(spec)
        if self._eager:
            return self._ready.setdefault(shape, flat)
        known = self._graphs.setdefault(shape, {})
        width = 1 if self._alone else width
        if width in known:  # when compiling
            return known[width]
        self.traces += 1
        known[width] = trace(flat, resized(leaves, width))
        if self._alone:
            self._ready[shape] = known[width]
        elif len(known) == 2:
            (one, first), (other, second) = known.items()
            try:
                self._ready[shape] = any_width(first, second, (one, other))
            except NotGeneric as error:
                self._why[shape] = str(error)
        return known[width]

    def compile(self, *arguments: *Trees) -> None:
        """Run the graph for arguments like these compiled from now on; nothing is written into them.

        Raises:
            CannotCompile: there is no compiler, or it fails, or what it made computes something else.
        """
        leaves, spec = tree_flatten(arguments)
        shape = self._shape(*arguments) if self._shape else None
        if self._eager:
            raise CannotCompile("the model has no graph")
        if leaves[0].device.type == "cpu" and compiler() is None:
            raise CannotCompile("there is no C++ compiler")
        widths = (1,) if self._alone else _EXAMPLE_WIDTHS
        with torch.no_grad():
            for width in widths:
                if shape not in self._ready:
                    self._made(width, leaves, spec, shape)
            if shape not in self._ready:
                raise CannotCompile(f"the model's graph depends on the pack width: {self._why[shape]}")
            self._ready[shape] = _compiled(self._ready[shape], resized(leaves, widths[0]), self._written)  # type: ignore[arg-type]

    def forget(self) -> None:
        """Trace anew, and run operation by operation."""
        self._graphs.clear()
        self._ready.clear()
        self._why.clear()


def _in_turn(run: Run, leaves: Leaves, written: Sequence[int]) -> Leaves:
    """The results of `run` for each row of the leaves; what it writes reaches them.

    Every row starts on 64 bytes: products of others are not bitwise the same.
    """
    results = []
    for trial in range(len(leaves[0])):
        rows = [each[trial : trial + 1] for each in leaves]
        given = [row.clone() if row.data_ptr() % _ALIGNED else row for row in rows]
        results.append(run(*given))
        for position in written:
            if given[position] is not rows[position]:
                rows[position].copy_(given[position])
    return [torch.cat(parts) for parts in zip(*results, strict=True)]


def _compiled(graph: GraphModule, leaves: Leaves, written: Sequence[int]) -> Run:
    """The graph compiled by Inductor, checked once against the graph itself: for one row, or for any number from two.

    Inductor is called without Dynamo, whose guards on every argument would cost a fifth of a small pack's step.
    """
    from torch._inductor import config
    from torch._inductor.compile_fx import compile_fx
    from torch._subclasses import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

    _mend_inductor()
    mode = FakeTensorMode(shape_env=ShapeEnv())
    first = DimDynamic.STATIC if len(leaves[0]) == 1 else DimDynamic.DUCK

    def example(each: torch.Tensor) -> torch.Tensor:
        sizes = [first] + [DimDynamic.STATIC] * (each.dim() - 1)
        return mode.from_tensor(each, symbolic_context=StatelessSymbolicContext(dynamic_sizes=sizes))

    on_cpu = leaves[0].device.type == "cpu"
    ours, theirs = (resized(leaves, len(leaves[0])) for _ in range(2))
    expected = list(graph(*ours))
    try:
        for node in graph.graph.nodes if on_cpu else ():
            node.target = COMPILED.get(node.target, node.target)
        graph.recompile()
        with config.patch(size_asserts=False):
            inputs: list[torch.Tensor] = [example(each) for each in theirs]
            table = decompositions() if on_cpu and pools(graph) else None
            made = cast(Run, compile_fx(graph, inputs, decompositions=table))
        results = list(made(*theirs))
    except Exception as error:  # whatever the compiler trips over, the graph itself still runs
        why = (str(error).splitlines() or [""])[0]
        raise CannotCompile(f"the compiler failed: {type(error).__name__}: {why}") from error
    _check([*expected, *(ours[k] for k in written)], [*results, *(theirs[k] for k in written)])
    return made


def _check(expected: Leaves, results: Leaves) -> None:
    for one, other in zip(expected, results, strict=True):
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

    def get_read_expr(self: loop_body.LoopBody, buffer_name: str) -> object:
        try:
            return original(self, buffer_name)  # type: ignore[no-untyped-call]
        except KeyError:
            return None

    get_read_expr.mended = True  # type: ignore[attr-defined]
    loop_body.LoopBody.get_read_expr = get_read_expr  # type: ignore[method-assign]
