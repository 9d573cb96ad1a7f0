"""Which knob mattered: bars for validation loss and gap, curves of partial dependence, and the top two together."""

from __future__ import annotations

from regsearch.pages.palette import RANKS
from regsearch.pages.parts import Paragraph, Part, Picture, Section, Table
from regsearch.pages.plot import WIDTH, Axis, Plot, axis, fitting, short
from regsearch.pages.record import Dependence, Importance, Interaction, StudyRecord

_BEST, _GAPS = "tells the best of the loss", "of the gap"
_MOVES = "moves the loss"
CURVES = 6
"""Curves of partial dependence at most, of the most important knobs."""


def importance(record: StudyRecord) -> Section:
    """Plot the importance of the knobs; a sentence where nothing was measured though trials have completed."""
    title = "Which knob mattered"
    study_importance = record.importance
    if study_importance is None or not study_importance.loss:
        if not record.count("COMPLETE"):
            return Section("importance", title)
        return Section("importance", title, [Paragraph("The importance of the knobs was not measured.")])
    parts: list[Part] = [
        _bars(study_importance),
        *(_curve(each, i) for i, each in enumerate(study_importance.dependence[:CURVES])),
    ]
    if study_importance.interaction is not None:
        parts.append(_grid(study_importance.interaction))
    return Section("importance", title, parts)


def _bars(importance: Importance) -> Picture:
    step = 54.0 if importance.moves else 44.0
    plot = Plot(0)
    entries = [("square", "winner", _BEST), ("circle", "baseline", _GAPS)]
    entries += [("diamond", "set0", _MOVES)] if importance.moves else []
    top = plot.key(8, entries) + 12
    bottom = top + step * len(importance.loss)
    shares = [*importance.loss.values(), *importance.gap.values(), *importance.moves.values()]
    along = Axis(0.0, 1.08 * max(shares) or 1.0, 12, WIDTH - 12)
    plot.bottom(along, bottom, "share", grid_to=top - 8)
    for index, (name, share) in enumerate(importance.loss.items()):
        y = top + step * index
        plot.text(12, y, fitting(name), "halo")
        marks = [(share, 14, "square", "winner"), (importance.gap.get(name, 0.0), 24, "circle", "baseline")]
        marks += [(importance.moves[name], 34, "diamond", "set0")] if importance.moves else []
        for value, up, kind, style in marks:
            tip = f"{name}: {100 * value:.0f} %"
            plot.box(12, y + up - 4, max(along.at(value) - 12, 0.5), 8, style, tip)
            plot.mark(along.at(value), y + up, kind, style, tip, 5)
    plot.height = bottom + 40
    columns = [importance.loss, importance.gap, *([importance.moves] if importance.moves else [])]
    rows = [(name, *(short(shares.get(name, 0.0)) for shares in columns)) for name in importance.loss]
    names = ("knob", _BEST, _GAPS, *([_MOVES] if importance.moves else []))
    numbers = Table("Importance: the numbers", names, rows, folded=True)
    first = next(iter(importance.loss))
    text = f"What tells the best trials from all, over {importance.basis} (PED-ANOVA); shares add up to 1. "
    text += f"The trials of lowest validation loss are told by {first} most."
    if importance.moves:
        most = max(importance.moves, key=importance.moves.__getitem__)
        part = f"{100 * importance.moves[most]:.0f} % of its variance by itself"
        text += f" Over all trials, poor ones too, the loss goes with {most} most: {part}."
    text += "".join(f" {harm.words()}." for harm in importance.ruins)
    return Picture("importance-bars", "Importance", text, plot.drawn(), plot.height, numbers)


def _curve(dependence: Dependence, index: int) -> Picture:
    plot = Plot(0)
    top = plot.key(8, [("", "winner", "validation loss"), ("dashed", "baseline", "gap")]) + 28
    bottom = top + 130
    values = [*dependence.loss, *dependence.gap]
    up = axis(values, bottom, top, zero=min(values) < 0, room=0.08)
    up = Axis(up.low, up.high, up.start, up.end) if min(dependence.gap) <= 0 else up
    low, high = min(dependence.x), max(dependence.x)
    along = Axis(low, high if high > low else low + (abs(low) or 1.0), 50, WIDTH - 16, log=dependence.log and low > 0)
    plot.left(up, 50, "loss", grid_to=WIDTH - 16)
    plot.bottom(along, bottom, dependence.name)
    for curve, style in ((dependence.loss, "winner"), (dependence.gap, "baseline dashed")):
        plot.line([(along.at(x), up.at(y)) for x, y in zip(dependence.x, curve, strict=True)], style)
    plot.height = bottom + 40
    rows = [
        (short(x), short(a), short(b)) for x, a, b in zip(dependence.x, dependence.loss, dependence.gap, strict=True)
    ]
    numbers = Table(
        f"Partial dependence on {dependence.name}: the numbers",
        (dependence.name, "validation loss", "gap"),
        rows,
        folded=True,
    )
    best = dependence.x[min(range(len(dependence.x)), key=lambda i: dependence.loss[i])]
    text = f"With all else as in the trials, the validation loss is lowest at {short(best)}."
    title = f"Partial dependence on {dependence.name}"
    return Picture(f"dependence-{index}", title, text, plot.drawn(), plot.height, numbers)


def _grid(interaction: Interaction) -> Picture:
    cells = [value for row in interaction.loss for value in row]
    low, span = min(cells), (max(cells) - min(cells)) or 1.0
    plot = Plot(0)
    words = ("lowest loss", "", "", "", "highest loss")
    top = plot.key(8, [("square", f"rank{i}", words[i]) for i in range(RANKS)]) + 28
    wide, high = (WIDTH - 66) / len(interaction.x), 200 / len(interaction.y)
    for i, x in enumerate(interaction.x):
        for j, y in enumerate(interaction.y):
            value = interaction.loss[i][j]
            rank = min(int((value - low) / span * RANKS), RANKS - 1)
            tip = f"{interaction.one} {short(x)}, {interaction.other} {short(y)}: {short(value)}"
            plot.box(56 + wide * i, top + 200 - high * (j + 1), wide + 0.3, high + 0.3, f"rank{rank}", tip)
    for i in sorted({0, len(interaction.x) // 2, len(interaction.x) - 1}):
        plot.text(56 + wide * (i + 0.5), top + 211, short(interaction.x[i]), "tick", "middle")
    for j in sorted({0, len(interaction.y) // 2, len(interaction.y) - 1}):
        plot.text(51, top + 200 - high * (j + 0.5), short(interaction.y[j]), "tick", "end")
    plot.text((56 + WIDTH) / 2, top + 228, interaction.one, "name", "middle")
    plot.text(2, top - 13, interaction.other, "name")
    plot.height = top + 240
    header = (f"{interaction.other} \\ {interaction.one}", *(short(x) for x in interaction.x))
    rows = [
        (short(y), *(short(interaction.loss[i][j]) for i in range(len(interaction.x))))
        for j, y in enumerate(interaction.y)
    ]
    numbers = Table("Validation loss over the two: the numbers", header, rows, folded=True)
    h = short(interaction.h)
    text = f"Friedman's H is {h}: 0 where the two effects add up, 1 where there is only their interaction."
    title = f"{interaction.one} and {interaction.other} together"
    return Picture("interaction", title, text, plot.drawn(), plot.height, numbers)
