"""Renders sections as one HTML page that loads nothing: style and pictures are in it, scripts there are none."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence

import jinja2
from markupsafe import Markup

from regsearch.pages.palette import DARK, LIGHT, variables
from regsearch.pages.parts import Picture, Section, Table
from regsearch.pages.plot import WIDTH


def page(title: str, sections: Sequence[Section], lead: str = "") -> str:
    """Render a page as HTML: a heading, links to the sections, and those in order.

    What the parts hold is plain text and is escaped.

    Args:
        title: of the document and its first heading.
        sections: those without parts are left out.
        lead: a line below the heading.

    Raises:
        ValueError: two sections, pictures or tables have one anchor.
    """
    shown = [section for section in sections if section.parts]
    _refuse_twins(shown)
    colours = {"light": Markup(variables(LIGHT)), "dark": Markup(variables(DARK))}
    text = _templates().get_template("page.html")
    return text.render(title=title, lead=lead, sections=shown, colours=colours, width=WIDTH)


def _refuse_twins(sections: Sequence[Section]) -> None:
    anchors = [section.anchor for section in sections]
    for part in (part for section in sections for part in section.parts):
        if isinstance(part, Picture):
            anchors.append(part.name)
        elif isinstance(part, Table) and part.anchor:
            anchors.append(part.anchor)
    twins = [name for name, times in Counter(anchors).items() if times > 1]
    if twins:
        raise ValueError(f"anchors must differ; twice there are {', '.join(twins)}")


@functools.cache
def _templates() -> jinja2.Environment:
    loader = jinja2.PackageLoader("regsearch.pages")
    return jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
