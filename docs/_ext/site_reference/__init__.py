"""Sphinx extension: the pages of the reference that are made from the code; no public name may lack an entry.

Before Sphinx reads its sources, `generate.write_pages` writes the study file's keys, the commands, the regularizers and
the repository's other pages as Markdown below `docs/`, where git ignores them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

from site_reference import data_docs, repository
from site_reference.generate import write_pages
from site_reference.public_names import undocumented

_log = logging.getLogger(__name__)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register them with Sphinx."""
    app.connect("builder-inited", _write)
    app.connect("source-read", repository.relink)
    app.connect("autodoc-process-docstring", data_docs.keep_whole, priority=400)  # napoleon comes at 500
    app.connect("autodoc-process-docstring", data_docs.write)
    app.connect("env-check-consistency", _check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _write(app: Sphinx) -> None:
    write_pages(Path(app.srcdir))


def _check(app: Sphinx, env: BuildEnvironment) -> None:
    for name in undocumented(env.domaindata["py"]["objects"]):
        _log.warning("%s is public (__all__) and has no entry in docs/reference/api", name)
