"""regsearch finds the regularization a model needs, and proves it.

The public face is `Study` and the `Answer` that it gives; both are imported when first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regsearch.answer import Answer as Answer
    from regsearch.study import Study as Study

__all__ = ["Answer", "Study"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'regsearch' has no attribute '{name}'")
    from regsearch import study  # heavier than `regsearch --help` may be

    return getattr(study, name)
