"""How Sphinx makes the site: `make site` writes it to build/site, with every warning an error."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS.parent), str(DOCS / "_ext")]

project = "regsearch"
author = "the regsearch authors"
version = release = installed("regsearch")
language = "en"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "site_reference",
]
root_doc = "index"
source_suffix = {".md": "markdown"}
exclude_patterns = ["_ext", "_static"]

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
# Headings are anchors, as on GitHub: `page.md#a-heading`.
myst_heading_anchors = 4

# Docstrings say `name` in single backticks, as in Markdown.
default_role = "literal"
add_module_names = False
autodoc_class_signature = "mixed"
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 110
napoleon_numpy_docstring = False
napoleon_use_param = True
napoleon_use_rtype = False
nitpicky = False

html_theme = "furo"
html_title = f"regsearch {release}"
html_static_path = ["_static"]
html_search_scorer = str(DOCS / "search_scorer.js")
html_favicon = "_static/favicon.svg"
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True}
copybutton_exclude = ".linenos, .gp, .go"
