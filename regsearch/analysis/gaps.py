"""Generalization gaps over the trials of a study, by the set of regularizers that is on."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from regsearch.errors import UserError
from regsearch.space import NONE, Knob, active_regularizers, value_names

NEEDED = ("number", "state", "val_loss", "train_loss", "gap")


def check(frame: pd.DataFrame) -> None:
    """Refuse a frame of trials that lacks a column.

    Raises:
        UserError: naming the columns that are missing.
    """
    missing = [name for name in NEEDED if name not in frame]
    if missing:
        raise UserError(f"the frame of trials lacks {', '.join(missing)}", allowed=f"it needs {', '.join(NEEDED)}")


def regularizer_sets(frame: pd.DataFrame, strengths: Iterable[Knob] | None = None) -> pd.Series[str]:
    """Name what each trial has on: its regularizers' names sorted and joined by " + ", or "none".

    Args:
        frame: one row per trial; `<regularizer>.<knob>` holds an active knob's value, or is missing.
        strengths: the regularizers' strengths; None means those of every declared regularizer.
    """
    if strengths is None:
        from regsearch.regularizers import strength_knobs  # imports torch

        strengths = strength_knobs()
    known = list(strengths)
    columns = {str(name): None for name in frame.columns}
    named_so = [name for knob in known for name in value_names(columns, knob.name)]
    values = frame[named_so].to_numpy(dtype=float, na_value=float("nan"))
    settings: list[dict[str, float | str]] = [
        {name: value for name, value in zip(named_so, row, strict=True) if value == value} for row in values.tolist()
    ]
    named = [" + ".join(active_regularizers(setting, known)) or NONE for setting in settings]
    return pd.Series(named, index=frame.index, name="regularizers", dtype="str")


def by_regularizers(frame: pd.DataFrame, strengths: Iterable[Knob] | None = None) -> pd.DataFrame:
    """Tabulate gaps and validation losses of each regularizer set, the set with the lowest validation loss first.

    Only COMPLETE trials enter losses and gaps: a pruned trial's gap is that of an earlier epoch, and smaller for it.

    Args:
        frame: one row per trial, with `number`, `state`, active knobs by flat name, `val_loss`, `train_loss`, `gap`.
        strengths: as in `regularizer_sets`; a column `regularizers` is used where the frame has one.

    Returns:
        Indexed by `regularizers`: `trials`, `complete`, `pruned`, `failed`; of the best trial `best_number`,
        `best_val_loss`, `best_gap`; over complete trials `median_val_loss`, `median_gap`, `low_gap`, `high_gap` (10th
        and 90th percentile).

    Raises:
        UserError: a column is missing.
    """
    check(frame)
    sets = frame["regularizers"] if "regularizers" in frame else regularizer_sets(frame, strengths)
    state = frame["state"].astype(str)
    words = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
    counts = pd.DataFrame({"trials": state != "", **{word: state == value for word, value in words.items()}})
    result = counts.astype(int).groupby(sets).sum()
    done = frame[state == "COMPLETE"]
    groups = done.groupby(sets[done.index])
    valued = done.dropna(subset=["val_loss"])
    best = done.loc[valued.groupby(sets[valued.index])["val_loss"].idxmin()]
    best = best.set_index(sets[best.index])
    result = result.assign(
        best_number=best["number"].astype("Int64"),
        best_val_loss=best["val_loss"],
        best_gap=best["gap"],
        median_val_loss=groups["val_loss"].median(),
        median_gap=groups["gap"].median(),
        low_gap=groups["gap"].quantile(0.1),
        high_gap=groups["gap"].quantile(0.9),
    )
    result.index.name = "regularizers"
    return result.sort_values(["best_val_loss", "trials"], ascending=[True, False])
