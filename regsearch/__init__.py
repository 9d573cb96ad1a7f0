"""regsearch finds the regularization a model needs, and proves it.

The public face is `Study`, the `Answer` that it gives, `UserError`, which says what was given and cannot be used, and
`Site`, a marker for models of your own; each is imported when first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from regsearch.core.products import settle_products

if TYPE_CHECKING:
    from regsearch.errors import UserError as UserError
    from regsearch.models.site import Site as Site
    from regsearch.study.study import Study as Study
    from regsearch.workspace.answer import Answer as Answer

__all__ = ["Answer", "Site", "Study", "UserError"]

# `Site` brings torch, and `Study` is heavier than `regsearch --help` may be.
_HOMES = {
    "Answer": "regsearch.workspace.answer",
    "Site": "regsearch.models.site",
    "Study": "regsearch.study.study",
    "UserError": "regsearch.errors",
}


settle_products()  # before anyone multiplies; later is too late for this process


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'regsearch' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
