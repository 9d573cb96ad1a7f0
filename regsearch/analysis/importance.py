"""Which knob mattered: for the validation loss, and for the gap."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from regsearch.analysis.dependence import Dependence, Forest, Interaction, Ruin, ruin
from regsearch.analysis.encoding import Column, columns
from regsearch.errors import UserError
from regsearch.space import Knob, SearchSpace
from regsearch.system.documents import FROM_A_COPY, check_form
from regsearch.system.files import JsonMapping, JsonObject

LEAST = 20
"""Complete trials without which no share is given."""
_NEEDED = ("state", "val_loss", "gap")


@dataclass(frozen=True)
class Importance:
    """What mattered in a study: what tells its best trials apart, and what moves the loss of all of them.

    The two may differ. A strength that ruins the training above some value moves the loss most, and says nothing of
    the best trials, which are all below; among these something small may make the difference.

    Args:
        loss: each knob's share of what tells the trials of lowest validation loss from all; the largest first.
        gap: the same for the trials of smallest gap, in the same order.
        dependence: curves of the strengths and of the knobs that every trial has, the most important first.
        interaction: of the two most important knobs that are on together; None where there are none.
        trials: how many trials it rests on.
        epoch: the epoch in which all of them were compared; None for complete trials, compared as they ended.
        moves: each knob's share of the variance of the validation loss over all trials, in the same order; of a file
            that an earlier regsearch wrote, none.
    """

    loss: dict[str, float]
    gap: dict[str, float]
    dependence: list[Dependence] = field(default_factory=list)
    interaction: Interaction | None = None
    trials: int = 0
    epoch: int | None = None
    moves: dict[str, float] = field(default_factory=dict)

    @property
    def ruins(self) -> list[Ruin]:
        """The knobs that ruin the loss beyond some value, with that value."""
        return [harm for curve in self.dependence if (harm := ruin(curve)) is not None]

    @property
    def basis(self) -> str:
        """What it rests on, in words."""
        return (
            f"{self.trials} complete trials" if self.epoch is None else f"{self.trials} trials, in epoch {self.epoch}"
        )

    def to_json(self) -> JsonObject:
        """Give the importance as plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(
        cls, content: JsonMapping, file: str | Path = "importance.json", mend: str = FROM_A_COPY
    ) -> Importance:
        """Read what `to_json` gave; a field that it does not give is refused.

        Args:
            file: it stands in, named in what is refused.
            mend: what to do about the file where it is damaged.

        Raises:
            UserError: it has another field, lacks one, or has one of another type.
        """
        check_form(content, cls, mend, file)
        both = content.get("interaction")
        return cls(
            dict(content["loss"]),
            dict(content["gap"]),
            [Dependence(**each) for each in content.get("dependence", ())],
            None if both is None else Interaction(**both),
            content.get("trials", 0),
            content.get("epoch"),
            dict(content.get("moves", {})),
        )


def importance(
    frame: pd.DataFrame, strengths: Iterable[Knob] | None = None, space: SearchSpace | None = None
) -> Importance:
    """Measure the importance of each knob of a study's complete trials, for the validation loss and for the gap.

    A regularizer's importance is that of its strength, with off as one of its values: whether it is on at all and how
    strong it is count together. What tells the best trials apart is measured by PED-ANOVA, see
    `regsearch.search.importance`; what moves the loss, and the curves, by a random forest, see
    `regsearch.analysis.dependence`.

    Args:
        frame: one row per trial, with `state`, `val_loss`, `gap` and active knobs by flat name, as `Study.frame` and
            `tracking.runs.read_runs` give it; finals in it are left out.
        strengths: the regularizers' strengths; None means those of every declared regularizer.
        space: what was searched, for the scales of its knobs; None takes the declared ones.

    Raises:
        UserError: a column is missing, too few trials are complete, or no knob differs between them.
    """
    if strengths is None:
        from regsearch.regularizers import strength_knobs  # imports torch

        strengths = strength_knobs()
    trials = _complete(frame)
    table = columns(trials, strengths, space)
    if not table:
        raise UserError("no knob differs between the complete trials, so none can matter")
    # Here and not above: Optuna takes half a second.
    from regsearch.search.importance import shares

    loss, gap = (trials[name].to_numpy(dtype=float) for name in ("val_loss", "gap"))
    measured = {"val_loss": loss.tolist(), "gap": gap.tolist()}
    share = shares({column.name: _given(column) for column in table}, measured)
    order = sorted(share["val_loss"], key=lambda name: (-share["val_loss"][name], name))
    forest = Forest(table, loss, gap)
    everywhere = {column.name for column in table if column.everywhere}
    drawn = [name for name in order if name in everywhere]
    return Importance(
        loss={name: share["val_loss"][name] for name in order},
        gap={name: share["gap"][name] for name in order},
        dependence=[forest.dependence(name) for name in drawn],
        interaction=forest.interaction(drawn),
        trials=len(trials),
        moves={name: forest.main_effect(name) for name in order},
    )


def _complete(frame: pd.DataFrame) -> pd.DataFrame:
    """The complete trials with a finite validation loss and gap."""
    missing = [name for name in _NEEDED if name not in frame]
    if missing:
        raise UserError(f"the frame of trials lacks {', '.join(missing)}", allowed=f"it needs {', '.join(_NEEDED)}")
    trials = frame[frame["kind"] == "trial"] if "kind" in frame else frame
    trials = trials[trials["state"].astype(str) == "COMPLETE"]
    finite = np.isfinite(trials[["val_loss", "gap"]].to_numpy(dtype=float, na_value=math.nan)).all(axis=1)
    trials = pd.DataFrame(trials[finite]).reset_index(drop=True)
    if len(trials) < LEAST:
        raise UserError(
            f"{LEAST} complete trials are needed to say what mattered, there {_are(len(trials))}",
            allowed=f"more trials: from {LEAST} on pruned ones count, too, in an epoch that they reached",
        )
    return trials


def _are(count: int) -> str:
    return f"{'is' if count == 1 else 'are'} {count or 'none'}"


def _given(column: Column) -> list[float | str | None]:
    """The column as PED-ANOVA takes it: words as they are, None where it is not active."""
    places = [None if math.isnan(place) else float(place) for place in column.at]
    if not column.words:
        return list(places)
    return [None if place is None else column.words[int(place)] for place in places]
