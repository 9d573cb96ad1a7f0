"""One self-contained page of a comparison: the answer, the tables, the pictures; light and dark, nothing fetched."""

from __future__ import annotations

import os
from collections.abc import Callable
from html import escape
from pathlib import Path

from matplotlib.figure import Figure

from regsearch.analysis.across_pictures import COLOURS, gaps_picture, pairs_picture, ranks_picture, svg
from regsearch.analysis.across_words import Table, notes, pair_table, score_table, sentence, study_table
from regsearch.analysis.comparing import Comparison
from regsearch.analysis.drawing import FAINT, INK, QUIET
from regsearch.errors import UserError

_DARK = ("#5ab4f0", "#f0894b", "#2fc79a", "#e29ac1", "#8ccbf5", "#e0b33c", "#a98be0", "#b0b0b0")
_STYLE = """
:root { --ink: #222222; --quiet: #5f5f5f; --faint: #d9d9d9; --paper: #ffffff; color-scheme: light dark; LIGHT }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e8; --quiet: #a8a8a8; --faint: #3a3a3a; --paper: #16181b; DARK }
}
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 62rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.4rem; margin: 0.5rem 0; } h2 { font-size: 1.1rem; margin: 2rem 0 0.5rem; }
.answer { font-size: 1.15rem; border-left: 4px solid var(--c0); padding-left: 0.8rem; }
.wide { overflow-x: auto; } .wide:focus-visible { outline: 2px solid var(--c0); }
table { border-collapse: collapse; font-size: 0.85rem; }
th, td { text-align: left; vertical-align: top; padding: 0.3rem 0.8rem 0.3rem 0; }
tr > * { border-bottom: 1px solid var(--faint); }
td, tbody th { white-space: nowrap; font-variant-numeric: tabular-nums; }
figure { margin: 1rem 0; } figure svg { width: 100%; height: auto; max-width: 46rem; min-width: 30rem; }
li { color: var(--quiet); }
"""


def comparison_page(found: Comparison, out: Path) -> Path:
    """Write the page to `out`; it is written beside and renamed, so it is whole or not there.

    Raises:
        UserError: `out` cannot be written.
    """
    title = f"Comparison of {len(found.studies)} studies"
    answer = sentence(found)
    parts = [f"<h1>{escape(title)}</h1>", f'<p class="answer">{escape(answer)}</p>']
    if found.ranks:
        parts.append(_picture(ranks_picture, found, "Mean ranks: " + _ranks(found)))
    if found.pairs:
        parts.append(_section("Pairs", pair_table(found)))
        parts.append(_picture(pairs_picture, found, "Differences of pairs; the table of pairs has the numbers"))
    if found.unit == "data set":
        parts.append(_section("Data sets", score_table(found)))
    parts.append(_section("Studies", study_table(found)))
    parts.append(_picture(gaps_picture, found, "Gaps of the studies; the table of studies has the numbers"))
    said = "".join(f"<li>{escape(each)}</li>" for each in notes(found))
    parts.append(f"<h2>Notes</h2><ul>{said}</ul>")
    light = " ".join(f"--c{place}: {colour};" for place, colour in enumerate(COLOURS))
    dark = " ".join(f"--c{place}: {colour};" for place, colour in enumerate(_DARK))
    style = _STYLE.replace("LIGHT", light).replace("DARK", dark)
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    head += f"<title>{escape(title)}</title><style>{style}</style>"
    text = f'<!doctype html>\n<html lang="en"><head>{head}</head><body><main>\n' + "\n".join(parts)
    return _write(out, f"{text}\n</main></body></html>\n")


def _write(out: Path, text: str) -> Path:
    aside = out.with_name(f"{out.name}.{os.getpid()}.part")
    try:
        aside.write_text(text, encoding="utf-8")
        os.replace(aside, out)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise UserError(
            f"cannot be written: {error.strerror}", file=out, allowed="a file in a folder that is there"
        ) from None
    return out


def _section(title: str, table: Table) -> str:
    head, rows = table
    names = "".join(f'<th scope="col">{escape(each)}</th>' for each in head)
    lines = []
    for first, *rest in rows:
        cells = "".join(f"<td>{escape(each)}</td>" for each in rest)
        lines.append(f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>')
    inside = f"<table><thead><tr>{names}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    # Wide tables scroll on a phone; a keyboard reaches what scrolls by the focus.
    region = f'<div class="wide" tabindex="0" role="region" aria-label="{escape(title)}">{inside}</div>'
    return f"<h2>{escape(title)}</h2>{region}"


def _picture(draw: Callable[[Comparison], Figure], found: Comparison, label: str) -> str:
    places = {INK: "var(--ink)", QUIET: "var(--quiet)", FAINT: "var(--faint)", "#ffffff": "var(--paper)"}
    places |= {colour: f"var(--c{place})" for place, colour in enumerate(COLOURS)}
    return f'<figure class="wide" tabindex="0">{svg(draw(found), label, places)}</figure>'


def _ranks(found: Comparison) -> str:
    return ", ".join(f"{name} {rank:.2f}" for name, rank in found.ranks.items())
