"""Learning curves of the finals: winner against baseline, training and validation loss, means and bands over seeds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regsearch.pages.parts import Picture, Section, Table
from regsearch.pages.plot import WIDTH, Axis, Plot, short
from regsearch.pages.record import StudyRecord

BAND = (0.1, 0.9)
_ROWS = 40
"""Rows of the table at most: of long trainings every so manieth epoch."""
Array = NDArray[np.float64]


def curves(record: StudyRecord) -> Section:
    """Plot the learning curves of the baseline and the winner; a section without parts where no curve is known."""
    known = {
        (who, key): _carried(np.asarray(record.curves[who][key], dtype=np.float64))
        for who in ("baseline", "winner")
        if who in record.curves
        for key in ("train_loss", "val_loss")
    }
    if not known or any(each is None for each in known.values()):
        return Section("curves", "Learning curves")
    curves_by_role: dict[tuple[str, str], Array] = {name: each for name, each in known.items() if each is not None}
    return Section("curves", "Learning curves", [_picture(record, curves_by_role)])


def _picture(record: StudyRecord, curves: dict[tuple[str, str], Array]) -> Picture:
    epochs = max(each.shape[1] for each in curves.values())
    # A candidate whose runs all stopped early keeps its last values like a run that did.
    curves = {name: np.pad(each, ((0, 0), (0, epochs - each.shape[1])), mode="edge") for name, each in curves.items()}
    means = {name: each.mean(axis=0) for name, each in curves.items()}
    bands = {name: np.quantile(each, BAND, axis=0) for name, each in curves.items()}
    seeds = max(each.shape[0] for each in curves.values())
    plot = Plot(290)
    words = {"train_loss": "training", "val_loss": "validation"}
    styles = {"train_loss": "dashed", "val_loss": ""}
    entries = [(styles[key], who, f"{who}, {words[key]}") for who, key in reversed(curves)]
    top = plot.key(8, entries) + 28
    settled = max(float(band[1][len(band[1]) // 5 :].max()) for band in bands.values())
    highest = max(float(band[1].max()) for band in bands.values())
    # The first epochs of an untrained model would flatten all that follows: they may leave the picture at the top.
    up = Axis(0.0, min(1.03 * highest, 1.35 * settled) if settled > 0 else 1.0, 250, top)
    along = Axis(1.0, float(max(epochs, 2)), 44, WIDTH - 10)
    plot.left(up, 44, record.loss_words, grid_to=WIDTH - 10)
    plot.bottom(along, 250, "epoch")
    with plot.window(44, top - 2, WIDTH - 54, 252 - top):
        for (who, _), (low, high) in bands.items():
            edge = [(along.at(i + 1), up.at(value, beyond=True)) for i, value in enumerate(low)]
            edge += [(along.at(i + 1), up.at(high[i], beyond=True)) for i in reversed(range(len(high)))]
            plot.area(edge, f"{who} band")
        for (who, key), mean in means.items():
            line = [(along.at(i + 1), up.at(value, beyond=True)) for i, value in enumerate(mean)]
            tip = f"{who}, {words[key]}: {short(float(mean[-1]))} at the end"
            plot.line(line, f"{who} {styles[key]}", tip)
    text = f"Means over {seeds} paired seed{'s' * (seeds != 1)}, bands from the 10th to the 90th percentile. "
    text += "A run that stopped early keeps its last value; the finals may have kept the weights of an earlier epoch."
    numbers = _numbers(means, words, epochs)
    return Picture("learning-curves", "Loss over epochs", text, plot.drawn(), plot.height, numbers)


def _numbers(means: dict[tuple[str, str], Array], words: dict[str, str], epochs: int) -> Table:
    step = max(1, -(-epochs // _ROWS))
    chosen = sorted({*range(0, epochs, step), epochs - 1})
    names = list(reversed(means))
    rows = [(str(i + 1), *(short(float(means[name][i])) for name in names)) for i in chosen]
    header = ("epoch", *(f"{who}, {words[key]}" for who, key in names))
    return Table("Loss over epochs: means over seeds", header, rows, folded=True)


def _carried(loss: Array) -> Array | None:
    """A curve [S, E] with the last value of a run that stopped carried on, without seeds that have none; None where
    nothing is left."""
    if loss.ndim != 2 or loss.size == 0:
        return None
    loss = loss[np.isfinite(loss[:, 0])]
    if not len(loss):
        return None
    last = np.maximum.accumulate(np.where(np.isfinite(loss), np.arange(loss.shape[1]), 0), axis=1)
    return np.take_along_axis(loss, last, axis=1)
