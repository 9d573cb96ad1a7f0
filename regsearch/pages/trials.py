"""All trials of a study: gap against loss, the Pareto front, their settings as parallel coordinates, and a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from regsearch.pages.palette import RANKS
from regsearch.pages.parts import Paragraph, Part, Picture, Section, Table
from regsearch.pages.plot import MARKS, WIDTH, Axis, Plot, axis, fitting, short
from regsearch.pages.record import StudyRecord
from regsearch.space import NONE

DOTS, LINES, ROWS = 2000, 200, 1000
"""Marks, lines and table rows at most: of more trials the best are taken, and every so manieth of the rest."""
KNOBS = 12
"""Knobs in the picture of settings at most."""
TABLE = "trials-table"


def gaps(record: StudyRecord) -> Section:
    """Plot gap against validation loss of every trial, by regularizer set."""
    shown = record.finite("val_loss", "gap")
    if shown.empty:
        return Section("gaps", "Gap against loss")
    picture = _scatter(
        record,
        shown,
        ("val_loss", "validation loss (smaller is better)"),
        ("gap", "gap: validation − training loss"),
        "gap-against-loss",
        "Gap against validation loss",
        "A small gap alone is no merit: underfitting has the smallest.",
    )
    return Section("gaps", "Gap against loss", [picture])


def front(record: StudyRecord) -> Section:
    """Show the Pareto front of several objectives: its trials in a table, and over the first two a picture."""
    section = ("front", "Pareto front")
    names = list(record.objectives)
    if len(names) < 2 or not record.front:
        return Section(*section)
    shown = record.finite(*names)
    chosen = shown[shown["number"].isin(list(record.front))].sort_values(names[0])
    if chosen.empty:
        return Section(*section)
    rows = [
        (f"trial {int(row['number'])}", str(row["regularizers"]), *(short(float(row[name])) for name in names))
        for _, row in chosen.iterrows()
    ]
    table = Table("Trials that no other one beats in every objective", ("trial", "on", *names), rows)
    ways = [f"{name} ({'larger' if name in record.maximized else 'smaller'} is better)" for name in names]
    picture = _scatter(
        record,
        shown,
        (names[0], ways[0]),
        (names[1], ways[1]),
        "pareto-front",
        f"{names[1]} against {names[0]}",
        "The line joins the trials of the front.",
        line=[(float(row[names[0]]), float(row[names[1]])) for _, row in chosen.iterrows()],
    )
    return Section(*section, [picture, table])


def settings(record: StudyRecord) -> Section:
    """Plot which settings gave which validation loss: parallel coordinates, a row for each knob, off its own tick."""
    shown, knobs = record.finite("val_loss"), record.knobs()
    if shown.empty or not knobs:
        return Section("settings", "Settings")
    left_out = len(knobs) - KNOBS
    if left_out > 0:
        held = shown[knobs].notna().sum().sort_values(ascending=False, kind="stable")
        most = set(held.index[:KNOBS])
        knobs = [name for name in knobs if name in most]
    parts: list[Part] = [_parallel(record, shown, knobs)]
    if left_out > 0:
        parts.append(Paragraph(f"{left_out} more knobs, on in fewer trials, are in the table alone."))
    return Section("settings", "Settings and validation loss", parts)


def table(record: StudyRecord) -> Section:
    """Tabulate the trials with their settings and losses, the best first; of many, the best and some of the others."""
    if record.trials.empty:
        return Section("trials", "Trials")
    shown, note = _thinned(record.trials, ROWS), ""
    if len(shown) < len(record.trials):
        note = f"{len(shown):,} of {len(record.trials):,} trials: the best, and every so manieth of the others."
    knobs = record.knobs()
    metrics = list(dict.fromkeys([*record.objectives, "val_loss", "train_loss", "gap"]))
    metrics = [name for name in metrics if name in shown]
    rows = []
    for row in shown.to_dict("records"):
        numbers = [_cell(row[name]) for name in metrics]
        rows.append(
            (f"{int(row['number'])}", str(row["state"]), *numbers, *(_cell(row[name], "off") for name in knobs))
        )
    header = ("trial", "state", *metrics, *knobs)
    counts = ", ".join(
        f"{record.count(state)} {word}"
        for state, word in (("COMPLETE", "complete"), ("PRUNED", "pruned"), ("FAIL", "failed"))
    )
    said = f"{len(record.trials):,} trials: {counts}."
    folded = Table("All trials, lowest validation loss first", header, rows, folded=True, note=note, anchor=TABLE)
    return Section("trials", "Trials", [Paragraph(said), folded])


def _scatter(
    record: StudyRecord,
    shown: pd.DataFrame,
    across: tuple[str, str],
    upward: tuple[str, str],
    name: str,
    title: str,
    remark: str,
    line: Sequence[tuple[float, float]] = (),
) -> Picture:
    drawn = _thinned(shown, DOTS)
    groups = _grouped(drawn)
    plot = Plot(0)
    entries = [(MARKS[i], f"set{i}", fitting(words, WIDTH - 40)) for i, (words, _) in enumerate(groups)]
    pruned = bool((drawn["state"].astype(str) == "PRUNED").any())
    if pruned:
        entries.append(("circle", "quiet hollow", "pruned, at its last report"))
    named = {"baseline": 0} if record.winner == 0 else {"winner": record.winner, "baseline": 0}
    entries += [("ring", who, who) for who in named]
    top = plot.key(8, entries) + 28
    bottom = top + 210
    x = axis(_within(drawn[across[0]]), 46, WIDTH - 10, room=0.05)
    y = axis(_within(drawn[upward[0]]), bottom, top, room=0.07, zero=upward[0] == "gap")
    plot.left(y, 46, upward[1], grid_to=WIDTH - 10)
    plot.bottom(x, bottom, across[1], grid_to=top)
    if y.low < 0 < y.high and not y.log:
        plot.line([(46, y.at(0)), (WIDTH - 10, y.at(0))], "frame")
    beyond = 0
    for index, (_, part) in reversed(list(enumerate(groups))):
        columns = (part[each].tolist() for each in ("number", "state", "regularizers", across[0], upward[0]))
        for number, state, names, one, other in zip(*columns, strict=True):
            hollow = " hollow" if str(state) == "PRUNED" else ""
            beyond += not (x.low <= one <= x.high and y.low <= other <= y.high)
            tip = f"trial {int(number)}, {names}: {short(one)}, {short(other)}"
            plot.mark(x.at(one), y.at(other), MARKS[index], f"set{index}{hollow}", tip, 3.4)
    if line:
        plot.line([(x.at(one), y.at(other)) for one, other in line], "winner")
    for who, number in named.items():
        row = shown[shown["number"] == number]
        if not row.empty:
            at = (x.at(float(row[across[0]].iloc[0])), y.at(float(row[upward[0]].iloc[0])))
            _ring(plot, who, at, bottom)
    plot.height = bottom + 40
    said = f"{len(shown):,} trials"
    lost = len(record.trials) - len(shown)
    said += f", {lost:,} more without finite numbers" if lost else ""
    said += f"; {len(drawn):,} of them are drawn" if len(drawn) < len(shown) else ""
    said += f"; {beyond:,} lie beyond the axes, at their edge" if beyond else ""
    return Picture(name, title, f"{said}. {remark}", plot.drawn(), plot.height, elsewhere=TABLE)


def _ring(plot: Plot, who: str, at: tuple[float, float], bottom: float) -> None:
    """Ring the mark of a named trial; the winner's name stands below it and the baseline's above: they may be close."""
    plot.mark(*at, "ring", who, size=7)
    below = 15 if who == "winner" and at[1] + 22 < bottom else -13
    side = "end" if at[0] > 0.75 * WIDTH else "start" if at[0] < 0.3 * WIDTH else "middle"
    plot.text(at[0], at[1] + below, who, f"{who} halo", side)


def _parallel(record: StudyRecord, shown: pd.DataFrame, knobs: Sequence[str]) -> Picture:
    drawn = _thinned(shown, LINES)
    loss = drawn["val_loss"].to_numpy(dtype=float)
    rank = np.minimum(np.argsort(np.argsort(loss, kind="stable"), kind="stable") * RANKS // len(loss), RANKS - 1)
    plot = Plot(0)
    words = ("best fifth", "second", "third", "fourth", "worst fifth")
    step, top = 54.0, plot.key(8, [(f"thick rank{i}", "", words[i]) for i in range(RANKS)]) + 22
    y = top + step * len(knobs)
    heights = [top + step * i for i in range(len(knobs) + 1)]
    rows = [_place(record, drawn[name], name) for name in knobs]
    losses = axis(_within(drawn["val_loss"]), 12, WIDTH - 12, room=0.02)
    rows.append(([losses.at(value) for value in loss], [(losses.at(each), short(each)) for each in losses.ticks()]))
    numbers = drawn["number"].tolist()
    for index in np.argsort(-loss, kind="stable"):
        path = [(places[index], height) for (places, _), height in zip(rows, heights, strict=True)]
        style = f"setting rank{rank[index]}"
        plot.line(path, style, f"trial {int(numbers[index])}: validation loss {short(float(loss[index]))}")
    for (_, ticks), name, height in zip(rows, (*knobs, "validation loss"), heights, strict=True):
        plot.line([(70 if name in knobs else 12, height), (WIDTH - 12, height)], "frame")
        plot.text(8, height - 13, name, "halo strong")
        for x, text in ticks:
            plot.text(x, height + 12, text, "tick halo", "middle")
    plot.height = y + 26
    some = f"{len(drawn):,} of {len(shown):,} trials" if len(drawn) < len(shown) else f"{len(shown):,} trials"
    text = f"{some}, a line each from knob to knob down to its validation loss; the best fifth is thickest and on top. "
    text += "At the left end of a row the knob is off or has no meaning."
    return Picture("parallel", "Settings as parallel coordinates", text, plot.drawn(), plot.height, elsewhere=TABLE)


def _place(record: StudyRecord, values: pd.Series, name: str) -> tuple[list[float], list[tuple[float, str]]]:
    """Where each trial stands on the row of one knob, and the row's ticks with their texts, that of off first."""
    off = 24.0
    ticks = [(off, "off")] if bool(values.isna().any()) else []
    known = values.dropna()
    if not known.map(lambda value: isinstance(value, int | float)).all():
        words = sorted(str(each) for each in known.unique())
        places = {word: 90 + (WIDTH - 130) * (i + 0.5) / len(words) for i, word in enumerate(words)}
        ticks += [(x, word) for word, x in places.items()]
        return [off if value != value or value is None else places[str(value)] for value in values.tolist()], ticks
    numbers = [float(each) for each in known if math.isfinite(float(each))]
    if not numbers:
        return [off] * len(values), ticks
    log = record.logs.get(name, min(numbers) > 0 and max(numbers) > 30 * min(numbers))
    low, high = min(numbers), max(numbers)
    high = high if high > low else low + (abs(low) or 1.0)
    along = Axis(low, high, 76, WIDTH - 16, log=log and low > 0)
    ticks += [(along.at(value), short(value)) for value in along.ticks(4)]
    return [along.at(float(v)) if v == v and math.isfinite(float(v)) else off for v in values.tolist()], ticks


def _grouped(drawn: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The trials by what they have on besides what all have, the most frequent sets first, `none` among them; in the
    last place all other sets."""
    sets = drawn["regularizers"].astype(str)
    members = {name: set(name.split(" + ")) - {NONE} for name in sets.unique()}
    some = [each for each in members.values() if each]
    shared = set.intersection(*some) if len(some) > 1 else set()
    words = {name: " + ".join(sorted(each - shared)) or "nothing more" for name, each in members.items()}
    words |= {name: "none" for name, each in members.items() if not each}
    named = sets.map(words)
    order = [str(name) for name in named.value_counts().index]
    shown = order if len(order) <= len(MARKS) else order[: len(MARKS) - 1]
    groups = [(name.replace("_", " "), drawn[named == name]) for name in shown]
    if len(shown) < len(order):
        groups.append((f"{len(order) - len(shown)} other sets", drawn[~named.isin(shown)]))
    return groups


def _thinned(trials: pd.DataFrame, most: int) -> pd.DataFrame:
    """The trials by validation loss; of too many the better half of what there is room for, and evenly of the rest."""
    ordered = trials.sort_values("val_loss", kind="stable") if "val_loss" in trials else trials
    if len(ordered) <= most:
        return ordered
    rest = np.linspace(most // 2, len(ordered) - 1, most - most // 2).round().astype(int)
    return ordered.iloc[[*range(most // 2), *rest.tolist()]]


def _within(values: pd.Series) -> list[float]:
    """The values without those so far out that they would flatten all others."""
    numbers = values.to_numpy(dtype=float)
    low, high = np.quantile(numbers, [0.05, 0.95])
    reach = 4 * (high - low) or np.inf
    return [float(each) for each in numbers[(numbers >= low - reach) & (numbers <= high + reach)]]


def _cell(value: Any, missing: str = "") -> str:
    if isinstance(value, str):
        return value
    return missing if value is None or value != value else short(float(value))
