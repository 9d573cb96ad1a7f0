"""The two pictures of a study: learning curves of the finals, and gap against validation loss over all trials.

Marks differ in shape too, and lines are named where they end.

Legend: S seeds, E epochs.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray

from regsearch.analysis.drawing import BASELINE, INK, QUIET, SIZE, WINNER, figure_of, save, title
from regsearch.analysis.gaps import check, regularizer_sets
from regsearch.errors import UserError
from regsearch.space import NONE, Knob

SETS = (("#009E73", "s"), ("#CC79A7", "^"), ("#56B4E9", "D"), ("#B58900", "v"), ("#7F5AB6", "P"), ("#8C8C8C", "X"))
"""Colour and marker per regularizer set; the last is for all sets that come after the others."""


def learning_curves(
    winner_curves: Mapping[str, ArrayLike],
    baseline_curves: Mapping[str, ArrayLike],
    loss_name: str,
    path: str | Path,
) -> tuple[Path, Path]:
    """Draw training and validation loss over epochs, winner against baseline, and write them as SVG and PNG.

    Lines are means over seeds, bands reach from the 10th to the 90th percentile over seeds.

    Args:
        winner_curves, baseline_curves: `train_loss` and `val_loss`, [S, E] each; NaN after the end of a run that
            stopped early, whose last value is carried on.
        loss_name: the axis label, with the unit ("cross-entropy (nats)").
        path: where to write; its suffix is replaced.

    Returns:
        The paths of the SVG and the PNG.

    Raises:
        UserError: a curve is missing, not [S, E], or has no epoch with a finite loss.
    """
    figure, axes = figure_of(6.3, 3.5, right=0.73)
    labels: list[tuple[float, str, str]] = []
    last, finite = 1, []
    spans: list[tuple[NDArray[np.float64], NDArray[np.float64], str]] = []
    for name, curves, colour in (("baseline", baseline_curves, BASELINE), ("winner", winner_curves, WINNER)):
        means = []
        for key, word, dashes in (("train_loss", "training", (0, (3, 1.6))), ("val_loss", "validation", "solid")):
            loss = _carried(curves, key, name)
            epochs = np.arange(1, loss.shape[1] + 1)
            mean = loss.mean(axis=0)
            means.append(mean)
            low, high = np.quantile(loss, [0.1, 0.9], axis=0)
            axes.fill_between(epochs, low, high, color=colour, alpha=0.16, linewidth=0)
            axes.plot(epochs, mean, color=colour, linestyle=dashes, linewidth=1.8, solid_capstyle="round")
            labels.append((float(mean[-1]), f"{name}, {word}", colour))
            last = max(last, int(epochs[-1]))
            finite.append(high)
        spans.append((means[0], means[1], colour))
    top = max(float(np.max(each)) for each in finite)
    settled = max(float(np.max(each[len(each) // 5 :])) for each in finite)
    # The first epochs of an untrained model would flatten all that follows: they may leave the picture at the top.
    axes.set_ylim(0, min(top * 1.03, settled * 1.35))
    axes.set_xlim(1, max(last, 2))
    for span, share in zip(spans, (0.83, 0.93), strict=True):
        _mark_gap(axes, *span, share)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=2))
    axes.set_xlabel("epoch")
    axes.set_ylabel(loss_name)
    seeds = np.asarray(winner_curves["val_loss"]).shape[0]
    title(axes, "Learning curves of the finals", f"mean over {seeds} paired seeds; bands: 10 to 90 %")
    _end_labels(axes, labels)
    return save(figure, path)


def gap_against_loss(
    frame: pd.DataFrame,
    path: str | Path,
    *,
    winner: int | None = None,
    baseline: int = 0,
    strengths: Iterable[Knob] | None = None,
) -> tuple[Path, Path]:
    """Draw the gap of every trial against its validation loss, and write it as SVG and PNG.

    Colour and marker tell the regularizer set, filled marks are complete trials and hollow ones pruned trials at their
    last report; baseline and winner are named. Trials without a finite loss are counted below the title.

    Args:
        frame: trials as in `gaps.by_regularizers`; a column `regularizers` is used where there is one.
        path: where to write; its suffix is replaced.
        winner, baseline: trial numbers; no winner means the complete trial of lowest validation loss.
        strengths: as in `gaps.regularizer_sets`.

    Returns:
        The paths of the SVG and the PNG.

    Raises:
        UserError: a column is missing, or no trial has a finite loss.
    """
    check(frame)
    sets = frame["regularizers"] if "regularizers" in frame else regularizer_sets(frame, strengths)
    shown = frame.assign(regularizers=sets.astype(str))
    finite = np.isfinite(shown[["val_loss", "gap"]].to_numpy(dtype=float)).all(axis=1)
    lost, shown = int((~finite).sum()), shown[finite]
    if shown.empty:
        raise UserError("no trial has a finite validation loss, so there is nothing to draw")
    figure, axes = figure_of(6.3, 3.9, right=0.74)
    shared, groups = _groups(shown)
    axes.axhline(0, color=QUIET, linewidth=0.8, zorder=1)
    for (_, part), (colour, marker) in zip(groups, SETS, strict=False):
        for state, hollow in (("PRUNED", True), ("COMPLETE", False)):
            chosen = part[part["state"].astype(str) == state]
            axes.scatter(
                chosen["val_loss"],
                chosen["gap"],
                s=20 if hollow else 26,
                marker=marker,
                facecolors="none" if hollow else colour,
                edgecolors=colour if hollow else "white",
                linewidths=0.9 if hollow else 0.35,
                alpha=0.75 if hollow else 1.0,
                zorder=2 if hollow else 3,
            )
    _limits(axes, shown["val_loss"].to_numpy(dtype=float), shown["gap"].to_numpy(dtype=float))
    complete = shown[shown["state"].astype(str) == "COMPLETE"]
    if winner is None and not complete.empty:
        winner = int(complete.loc[complete["val_loss"].idxmin(), "number"])
    _name_trials(axes, shown, winner, baseline)
    axes.set_xlabel("validation loss (lower is better)")
    axes.set_ylabel("gap: validation \N{MINUS SIGN} training loss")
    note = f"{len(shown)} trials" + (f", {lost} more without a finite loss" if lost else "")
    title(axes, "Gap against validation loss", note)
    _key(axes, shared, [name for name, _ in groups], pruned=bool((shown["state"].astype(str) == "PRUNED").any()))
    return save(figure, path)


def _carried(curves: Mapping[str, ArrayLike], key: str, name: str) -> NDArray[np.float64]:
    """A curve [S, E] with the last value of a run that stopped carried on."""
    loss = np.asarray(curves.get(key, ()), dtype=np.float64)
    if loss.ndim != 2 or loss.size == 0 or not np.isfinite(loss[:, 0]).all():
        raise UserError(f"the {name}'s {key} must be losses [seeds, epochs], finite in epoch 1", value=loss.shape)
    last = np.maximum.accumulate(np.where(np.isfinite(loss), np.arange(loss.shape[1]), 0), axis=1)
    return np.take_along_axis(loss, last, axis=1)


def _groups(frame: pd.DataFrame) -> tuple[str, list[tuple[str, pd.DataFrame]]]:
    """What all sets but `none` share, in words, and the trials of each set by what it has besides, `none` last.

    At most `len(SETS)` groups: the most frequent sets, then one for all others.
    """
    sets = {name: set(name.split(" + ")) for name in frame["regularizers"].unique() if name != NONE}
    shared = set.intersection(*sets.values()) if len(sets) > 1 else set()
    short = {name: " + ".join(sorted(members - shared)) or "nothing more" for name, members in sets.items()}
    named = frame["regularizers"].map(lambda name: short.get(name, "none of them" if shared else "none"))
    order = [str(name) for name in named.value_counts(sort=True).index]
    order = [name for name in order if not name.startswith("none")] + [
        name for name in order if name.startswith("none")
    ]
    room = len(SETS)
    shown = order if len(order) <= room else [*order[: room - 2], order[-1]] if NONE in order[-1] else order[: room - 1]
    groups = [(_words(name), frame[named == name]) for name in shown]
    if len(shown) < len(order):
        groups.append((f"{len(order) - len(shown)} other sets", frame[~named.isin(shown)]))
    return _words(" + ".join(sorted(shared))), groups


def _words(names: str) -> str:
    return " + ".join(each.upper() if len(each) == 2 else each.replace("_", " ") for each in names.split(" + "))


def _name_trials(axes: Axes, shown: pd.DataFrame, winner: int | None, baseline: int) -> None:
    """Ring and name the winner (label to the left, where no trial is better) and the baseline (above)."""
    chosen = [("winner", winner, WINNER, (-14, -13)), ("baseline", baseline, BASELINE, (14, 13))]
    if winner == baseline:
        chosen = [("winner = baseline", winner, BASELINE, (14, 13))]
    for word, number, colour, (right, up) in chosen:
        row = shown[shown["number"] == number]
        if row.empty:
            continue
        point = (float(row["val_loss"].iloc[0]), float(row["gap"].iloc[0]))
        if axes.transLimits.transform(axes.transScale.transform(point))[0] > (0.75 if len(word) < 9 else 0.6):
            right = -abs(right)
        axes.scatter(*point, s=110, marker="o", facecolors="none", edgecolors=colour, linewidths=1.8, zorder=5)
        axes.annotate(
            word,
            point,
            xytext=(right, up),
            textcoords="offset points",
            color=colour,
            fontsize=SIZE,
            fontweight="bold",
            ha="right" if right < 0 else "left",
            va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 1.0, "shrinkB": 5, "shrinkA": 0},
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
            zorder=6,
        )


def _limits(axes: Axes, loss: NDArray[np.float64], gap: NDArray[np.float64]) -> None:
    """Axes wide enough for every trial and the winner's name; logarithmic where the loss spans more than a factor 6."""
    low, high = float(loss.min()), float(loss.max())
    if low > 0 and high / low > 6:
        axes.set_xscale("log")
        decades = np.log10(high / low)
        axes.xaxis.set_major_locator(
            LogLocator(subs=(1, 2, 3, 5) if decades < 1.6 else (1, 3) if decades < 3 else (1,))
        )
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(low * (high / low) ** -0.24, high * (high / low) ** 0.05)
    else:
        room = high - low or abs(high) or 1.0
        axes.set_xlim(low - 0.24 * room, high + 0.05 * room)
    bottom, top = min(float(gap.min()), 0.0), max(float(gap.max()), 0.0)
    room = top - bottom or 1.0
    axes.set_ylim(bottom - 0.06 * room, top + 0.12 * room)


def _key(axes: Axes, shared: str, names: Sequence[str], pruned: bool) -> None:
    """Marks and names of the sets, beside the axes."""
    left, y = 1.04, 0.97

    def line(text: str, colour: str, marker: str, filled: bool) -> None:
        face = colour if filled else "none"
        axes.plot(left, y, marker, color=colour, mfc=face, ms=5.5, transform=axes.transAxes, clip_on=False)
        axes.text(left + 0.035, y, text, transform=axes.transAxes, va="center", fontsize=SIZE - 1, color=INK)

    for text in textwrap.wrap(f"{shared} +", 24) if shared else ():
        axes.text(left - 0.015, y, text, transform=axes.transAxes, va="center", fontsize=SIZE - 1, color=QUIET)
        y -= 0.06
    for name, (colour, marker) in zip(names, SETS, strict=False):
        first, *rest = textwrap.wrap(name, 19, max_lines=2, placeholder=" …")
        line(first, colour, marker, True)
        for text in rest:
            y -= 0.05
            axes.text(left + 0.035, y, text, transform=axes.transAxes, va="center", fontsize=SIZE - 1, color=INK)
        y -= 0.07
    if pruned:
        for text, filled in (("complete", True), ("pruned, last report", False)):
            y -= 0.03 if filled else 0.07
            line(text, QUIET, "o", filled)


def _end_labels(axes: Axes, labels: list[tuple[float, str, str]]) -> None:
    """Name each line at its right end, pushed apart where two would touch."""
    low, high = axes.get_ylim()
    step = 0.06 * (high - low)
    labels = sorted(labels)
    places: list[float] = []
    for value, _, _ in labels:
        places.append(max(value, low + step / 2, places[-1] + step if places else low))
    places = [min(place, high - step * (len(places) - 1 - index)) for index, place in enumerate(places)]
    edge = axes.get_xlim()[1]
    for place, (value, text, colour) in zip(places, labels, strict=True):
        arrow = {"arrowstyle": "-", "color": colour, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 0}
        axes.annotate(
            text,
            (edge, min(value, high)),
            xytext=(edge + 0.045 * (edge - axes.get_xlim()[0]), place),
            color=colour,
            fontsize=SIZE,
            va="center",
            annotation_clip=False,
            arrowprops=arrow,
        )


def _mark_gap(
    axes: Axes, training: NDArray[np.float64], validation: NDArray[np.float64], colour: str, share: float
) -> None:
    """An arrow from training to validation loss at `share` of the epochs, where it has the room to be read."""
    epoch = round(share * len(training))
    start, end = (float(curve[epoch - 1]) for curve in (training, validation))
    bottom, top = axes.get_ylim()
    if len(training) < 10 or not 0.2 * (top - bottom) < abs(end - start) < top - start:
        return
    axes.annotate(
        "", (epoch, start), (epoch, end), arrowprops={"arrowstyle": "<->", "color": colour, "shrinkA": 1, "shrinkB": 1}
    )
    paper = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
    axes.text(epoch, (start + end) / 2, "gap", color=colour, fontsize=SIZE, ha="center", va="center", bbox=paper)
