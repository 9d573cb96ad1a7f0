"""regsearch finds the regularization a model needs, and proves it.

The public face is `Study`, the `Answer` that it gives, and `Site`, a marker for models of your own; each is imported
when first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regsearch.models.site import Site as Site
    from regsearch.study.study import Study as Study
    from regsearch.workspace.answer import Answer as Answer

__all__ = ["Answer", "Site", "Study"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'regsearch' has no attribute '{name}'")
    if name == "Site":
        from regsearch.models.site import Site  # brings torch

        return Site
    from regsearch.study import study  # heavier than `regsearch --help` may be

    return getattr(study, name)
