"""The docstrings of public constants, which Python itself does not keep: they stand below the assignment; and those of
attributes and properties, which napoleon would take apart at a colon.
"""

from __future__ import annotations

import sys
from typing import Any

from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer


def documented(name: str) -> list[str]:
    """Give the lines below the assignment of a constant, by the public name of the constant in full.

    A package's face hands on what one of its modules assigns; that module has the lines.
    """
    face, _, own = name.rpartition(".")
    value = getattr(sys.modules[face], own)
    for module in [each for each in sys.modules if each == face or each.startswith(f"{face}.")]:
        if getattr(sys.modules[module], own, None) is value:
            lines = ModuleAnalyzer.for_module(module).find_attr_docs().get(("", own))
            if lines:
                return lines
    return []


def write(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Put a constant's own lines in the place of those of its type, when autodoc asks."""
    if what == "data":
        lines[:] = documented(name)


def keep_whole(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Keep napoleon from reading the docstring of an attribute as `type: description`; to come before it.

    It looks for the colon in the first line, which is an empty comment then.
    """
    if what in ("attribute", "property") and lines:
        lines[:0] = ["..", ""]
