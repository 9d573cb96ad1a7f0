"""What of a user's model keeps it from being packed, and what of a rule of theirs, which is then refused."""

from __future__ import annotations

import traceback

from torch import nn

from regsearch.core.pack_function import PackFunction, Result, Trees
from regsearch.errors import UserError, line_at_fault
from regsearch.regularizers.base import Regularizer, is_shipped

ONE_AT_A_TIME = "cannot be packed and trains one trial at a time"
"""What is said of such a model, before the operation."""
_ON_DATA = ("data-dependent", ".item()", "_local_scalar_dense", "vmap over calling")


def run_packed(function: PackFunction[*Trees, Result], *arguments: *Trees) -> Result:
    """Run a function of the model for a pack.

    Raises:
        UserError: the model or a rule cannot be traced, or not be lifted.
    """
    try:
        return function(*arguments)
    except (RuntimeError, NotImplementedError, TypeError) as error:
        refuse_rule_at_fault(error)
        raise UserError(
            f"the model cannot be trained packed: {str(error).splitlines()[0]}",
            key="model",
            allowed="a module without data-dependent control flow",
        ) from error


def refuse_rule_at_fault(error: BaseException) -> None:
    """Refuse a rule of the user's own whose code an error came through last; one of the model is left to others.

    A rule that cannot be lifted is none that could train one trial at a time instead: it may draw numbers that no other
    process draws again.

    Raises:
        UserError: names the rule and the line.
    """
    rule: type[Regularizer] | None = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        owner = frame.f_locals.get("self")
        if isinstance(owner, Regularizer) and not is_shipped(type(owner)):
            rule = type(owner)
        elif isinstance(owner, nn.Module):
            rule = None  # it called the model
    if rule is not None:
        raise UserError(
            f"this rule cannot be lifted over the trials of a pack: {operation_at_fault(error)}",
            key=f"space.{rule.name}",
            allowed="a rule is written for one trial, without a Python `if` on a knob, and draws from ctx alone",
        ) from error


def operation_at_fault(error: BaseException) -> str:
    """Name where in a user's model a trace failed, and why: `if h.mean() > 0:` (model.py, line 12): ..."""
    message = (str(error).splitlines() or [type(error).__name__])[0]
    line = line_at_fault(error)
    if line is None:
        return message
    why = "its result depends on the data" if any(part in str(error) for part in _ON_DATA) else message
    return f"{line}: {why}"
