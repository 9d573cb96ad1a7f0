"""The page of a comparison of studies: the answer first, then ranks, pairs, data sets and studies."""

from __future__ import annotations

from regsearch.analysis.paired_tests import LEVEL, alike
from regsearch.analysis.study_comparison import Comparison
from regsearch.analysis.study_comparison_words import notes, p_value, pair_table, score_table, sentence, study_table
from regsearch.pages.forest import Estimate, forest, span
from regsearch.pages.page import page
from regsearch.pages.parts import Lines, Paragraph, Picture, Section, Table
from regsearch.pages.plot import WIDTH, Axis, Plot, axis, fitting, short

_PAIRS, _STUDIES = "pairs-table", "studies-table"
_SETS = 5
"""Those compared that have a colour of their own; all after them share one."""


def comparison_page(comparison: Comparison) -> str:
    """Render a comparison as an HTML page; what the comparison does not have is left out."""
    sections = [
        Section("answer", "Answer", [Paragraph(sentence(comparison), strong=True)]),
        Section("ranks", "Mean ranks", [_ranks(comparison)] if comparison.ranks else []),
        _pairs(comparison),
        _data(comparison),
        Section(
            "studies", "Studies", [_gaps(comparison), Table("The studies", *study_table(comparison), anchor=_STUDIES)]
        ),
        Section("notes", "How to read this", [Lines(notes(comparison))]),
    ]
    return page(f"Comparison of {len(comparison.studies)} studies", sections, ", ".join(comparison.compared))


def _ranks(comparison: Comparison) -> Picture:
    """Mean ranks, the best on top; those that a bar at the right joins may differ by chance alone.

    The bars are those of Demsar's (2006) critical difference diagram; what they mean here is in `across.alike`.
    """
    order, step, top = list(comparison.ranks), 34.0, 14.0
    bars = alike(order, comparison.pairs)
    end = WIDTH - 12 - 10 * len(bars)
    bottom = top + step * len(order)
    plot = Plot(bottom + 40)
    along = Axis(1.0, max(2.0, float(len(order))), 12, end - 12)
    plot.bottom(along, bottom, "mean rank (1 is the best)", max(1, len(order) - 1), grid_to=top - 8)
    for index, name in enumerate(order):
        y, rank = top + step * index, comparison.ranks[name]
        plot.text(8, y, fitting(f"{name}: {rank:.2f}", end - 8), "halo")
        tip = f"{name}: mean rank {rank:.2f}"
        plot.line([(along.at(1), y + 15), (along.at(rank), y + 15)], _style(index), tip)
        plot.mark(along.at(rank), y + 15, "circle", _style(index), tip, 5)
    for place, (first, last) in enumerate(bars):
        x = end + 6 + 10 * place
        tip = f"{order[first]} to {order[last]}: what tells them apart may be chance"
        plot.line([(x, top + step * first + 6), (x, top + step * last + 20)], "quiet thick", tip)
    text = f"Over {len(comparison.units)} {comparison.unit}s."
    text += " A bar at the right joins what may differ by chance alone." if bars else ""
    cells = [(name, f"{rank:.2f}") for name, rank in comparison.ranks.items()]
    numbers = Table("Mean ranks: the numbers", ("", "mean rank"), cells, folded=True)
    return Picture("ranks-picture", "Mean ranks", text, plot.drawn(), plot.height, numbers)


def _pairs(comparison: Comparison) -> Section:
    if not comparison.pairs:
        return Section("pairs", "Pairs")
    scale, unit = (100.0, "points") if comparison.sign > 0 else (1.0, "lower error")
    rows = []
    for pair in comparison.pairs:
        p = p_value(pair.p_holm)
        label = f"{pair.first} − {pair.second} (p {p if p.startswith('<') else f'= {p}'})"
        ends = (scale * pair.difference.low, scale * pair.difference.high)
        rows.append(Estimate("winner" if pair.holds else "other", label, scale * pair.difference.value, *ends))
    words = f"median difference on unseen rows ({unit})"
    text = f"With {100 * LEVEL:g} % intervals; above 0 the first is better. A round mark says that this holds over "
    text += f"{comparison.unit}s, p corrected; a diamond that it may be chance."
    drawn = forest("pairs-picture", "Differences", text, rows, words, zero=True, elsewhere=_PAIRS)
    table = Table("Every two, the better one first", *pair_table(comparison), anchor=_PAIRS)
    return Section("pairs", "Pairs", [drawn, table])


def _data(comparison: Comparison) -> Section:
    if comparison.unit != "data set":
        return Section("data", "Data sets")
    return Section("data", "Data sets", [Table("What each reached on each data set", *score_table(comparison))])


def _gaps(comparison: Comparison) -> Picture:
    """The gap of each study: its complete trials from the 10th to the 90th percentile, and its answer's finals."""
    studies = (
        sorted(comparison.studies, key=lambda each: each.data)
        if comparison.unit == "data set"
        else list(comparison.studies)
    )
    step, plot = 32.0, Plot(0)
    entries = [("thick", "quiet", "complete trials, 10 to 90 %"), ("square", "quiet", "their median")]
    top = plot.key(8, [*entries, ("diamond", "quiet", "finals")]) + 12
    bottom = top + step * len(studies)
    plot.height = bottom + 40
    ends = [each for study in studies for each in (study.gap.low, study.gap.high, study.final_gap.value)]
    along = axis(ends, 12, WIDTH - 12, zero=True)
    plot.bottom(along, bottom, "gap: validation − training loss", grid_to=top - 8)
    plot.line([(along.at(0), top - 8), (along.at(0), bottom)], "frame")
    for index, each in enumerate(studies):
        compared = each.study if comparison.unit == "seed" else each.method
        y, style = top + step * index, _style(comparison.compared.index(compared))
        plot.text(8, y, fitting(each.study, WIDTH - 16), "halo")
        tip = f"{each.study}: trials {span(each.gap.low, each.gap.high)}, finals {short(each.final_gap.value)}"
        plot.line([(along.at(each.gap.low), y + 15), (along.at(each.gap.high), y + 15)], f"{style} thick", tip)
        plot.mark(along.at(each.gap.value), y + 15, "square", style, tip, 4)
        plot.mark(along.at(each.final_gap.value), y + 15, "diamond", style, tip, 5)
    text = "Small gaps alone are no merit: underfitting has the smallest. A colour is a study's"
    text += " own." if comparison.unit == "seed" else " method's."
    return Picture("gaps-picture", "Gaps", text, plot.drawn(), plot.height, elsewhere=_STUDIES)


def _style(index: int) -> str:
    return f"set{min(index, _SETS)}"
