"""What of a user's model keeps it from being packed."""

from __future__ import annotations

from regsearch.core.pack_function import PackFunction, Result, Trees
from regsearch.errors import UserError, line_at_fault

_ON_DATA = ("data-dependent", ".item()", "_local_scalar_dense", "vmap over calling")


def run_packed(function: PackFunction[*Trees, Result], *arguments: *Trees) -> Result:
    """Run a function of the model for a pack.

    Raises:
        UserError: the model cannot be traced, or not be lifted.
    """
    try:
        return function(*arguments)
    except (RuntimeError, NotImplementedError, TypeError) as error:
        raise UserError(
            f"the model cannot be trained packed: {str(error).splitlines()[0]}",
            key="model",
            allowed="a module without data-dependent control flow",
        ) from error


def operation_at_fault(error: BaseException) -> str:
    """Name where in a user's model a trace failed, and why: `if h.mean() > 0:` (model.py, line 12): ..."""
    message = (str(error).splitlines() or [type(error).__name__])[0]
    line = line_at_fault(error)
    if line is None:
        return message
    why = "its result depends on the data" if any(part in str(error) for part in _ON_DATA) else message
    return f"{line}: {why}"
