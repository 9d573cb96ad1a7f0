"""A function of one trial, run trial by trial: what trains a model that cannot be packed.

Legend: T trials.
"""

from __future__ import annotations

import linecache
import sysconfig
import traceback
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_unflatten

from regsearch.core.graph import CannotCompile

_PACKAGE = str(Path(__file__).resolve().parent.parent)
_LIBRARIES = (str(Path(torch.__file__).resolve().parent), _PACKAGE, sysconfig.get_paths()["stdlib"])
_ON_DATA = ("data-dependent", ".item()", "_local_scalar_dense", "vmap over calling")


class SerialFunction:
    """In the place of a `PackFunction`: the same results to rounding, without a graph.

    Args:
        function: maps one trial's tensors to tensors.
        into: where given, the indices of the arguments that the results replace, in place; nothing is returned.
    """

    def __init__(self, function: Callable[..., Any], into: Sequence[int] | None = None) -> None:
        self._function, self._into = function, into
        self.traces = 0

    def __call__(self, *arguments: Any, shape: Hashable = None) -> Any:
        """The results for arguments of T rows each."""
        leaves, spec = tree_flatten(arguments)
        rows = [tree_unflatten([each[trial] for each in leaves], spec) for trial in range(len(leaves[0]))]
        with torch.no_grad():
            if self._into is None:
                return _stacked([self._function(*row) for row in rows])
            for row in rows:
                results = tree_flatten(self._function(*row))[0]
                replaced = tree_flatten([row[index] for index in self._into])[0]
                for old, new in zip(replaced, results, strict=True):
                    old.copy_(new)
        return None

    def compile(self, *arguments: Any, shape: Hashable = None) -> None:
        raise CannotCompile("the model trains one trial at a time")

    def forget(self) -> None:
        """There is nothing to forget."""


def _stacked(results: list[Any]) -> Any:
    flat, spec = tree_flatten(results[0])
    others = [flat, *(tree_flatten(each)[0] for each in results[1:])]
    return tree_unflatten([torch.stack(each) for each in zip(*others, strict=True)], spec)


def operation_at_fault(error: BaseException) -> str:
    """Where in a user's model a trace failed, and why, in one line: `if h.mean() > 0:` (model.py, line 12): ..."""
    message = (str(error).splitlines() or [type(error).__name__])[0]
    why = "its result depends on the data" if any(part in str(error) for part in _ON_DATA) else message
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        if frame.filename.startswith(("<", *_LIBRARIES)):
            continue
        line = (frame.line or linecache.getline(frame.filename, frame.lineno or 0)).strip()
        return f"`{line}` ({Path(frame.filename).name}, line {frame.lineno}): {why}"
    return message
