"""What a study's page is made from, gathered in one place, so that a page can be made of made-up records too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pandas as pd
from numpy.typing import ArrayLike

from regsearch.analysis.finals_summary import FinalsSummary
from regsearch.system.files import JsonMapping


class Dependence(Protocol):
    """How losses go with one knob: see `regsearch.analysis`."""

    @property
    def name(self) -> str:
        """The flat name of the knob."""
        ...

    @property
    def log(self) -> bool:
        """Whether its scale is logarithmic."""
        ...

    @property
    def x(self) -> Sequence[float]:
        """Values of the knob, [K]."""
        ...

    @property
    def loss(self) -> Sequence[float]:
        """Validation loss at each of them, [K]."""
        ...

    @property
    def gap(self) -> Sequence[float]:
        """Gap at each of them, [K]."""
        ...


class Interaction(Protocol):
    """How validation loss goes with two knobs at once: `loss[i][j]` at x[i] of `one` and y[j] of `other`; `h` is
    Friedman's H."""

    @property
    def one(self) -> str:
        """The flat name of the first knob."""
        ...

    @property
    def other(self) -> str:
        """The flat name of the second knob."""
        ...

    @property
    def x(self) -> Sequence[float]:
        """Values of the first knob, [K]."""
        ...

    @property
    def y(self) -> Sequence[float]:
        """Values of the second knob, [L]."""
        ...

    @property
    def loss(self) -> Sequence[Sequence[float]]:
        """Validation loss over both, [L, K]."""
        ...

    @property
    def h(self) -> float:
        """Friedman's H of the two, 0 where they add up."""
        ...


class Ruin(Protocol):
    """Where a knob ruins the loss."""

    def words(self) -> str:
        """Say it in a line."""
        ...


class Importance(Protocol):
    """What tells good trials from all, for validation loss and for gap, and what moves the loss of all."""

    @property
    def loss(self) -> Mapping[str, float]:
        """The share of each knob in the validation loss, by flat name."""
        ...

    @property
    def gap(self) -> Mapping[str, float]:
        """The share of each knob in the gap, by flat name."""
        ...

    @property
    def moves(self) -> Mapping[str, float]:
        """The share of each knob in the variance of the validation loss, by flat name; may be empty."""
        ...

    @property
    def ruins(self) -> Sequence[Ruin]:
        """The knobs that ruin the loss beyond some value."""
        ...

    @property
    def dependence(self) -> Sequence[Dependence]:
        """The curves of the knobs that matter most."""
        ...

    @property
    def interaction(self) -> Interaction | None:
        """How the two that matter most go together; None where there is one."""
        ...

    @property
    def basis(self) -> str:
        """The trials that it rests on, in words."""
        ...


@dataclass(frozen=True)
class StudyRecord:
    """A study as its page tells it.

    Args:
        name: of the study.
        trials: a row per trial: `number`, `state` (Optuna's words), `reason`, `regularizers` ("dropout + l2", or
            "none"), active knobs by flat name, and metrics of the epoch whose weights the trial kept. May be empty.
        planned: how many trials there will be; 0 where that is not known.
        ended: whether the study has its answer.
        sentence: the answer in one sentence; how far the study is, where it has not ended.
        begun: when, as text.
        objectives: the metrics that the search went by.
        loss_words: the loss and its unit ("cross-entropy (nats)").
        winner: the number of the trial that won the finals, without any of the best trial.
        summary: of the finals; None where there were none.
        curves: `winner` and `baseline`: their finals' `train_loss` and `val_loss`, [S, E], NaN after an early end.
        opened: for how many decisions the sealed test, or rows of it, were opened; `opened_words` says so in words.
        openings: the ledger's lines.
        data, machine: what is known of them, by name, in the order in which it is shown.
        study_file: the study file in full, as text.
        logs: for each knob whether it is searched on a logarithmic scale, as far as known.
        maximized: the objectives of which larger values are better.
        front: numbers of the trials on the Pareto front, with several objectives.
        importance: which knob mattered; None where that was not measured.
        timing: seconds by part.
    """

    name: str
    trials: pd.DataFrame
    planned: int
    ended: bool
    sentence: str
    begun: str = ""
    objectives: Sequence[str] = ("val_loss",)
    loss_words: str = "loss"
    winner: int | None = None
    summary: FinalsSummary | None = None
    curves: Mapping[str, Mapping[str, ArrayLike]] = field(default_factory=dict)
    opened: int = 0
    opened_words: str = ""
    openings: Sequence[JsonMapping] = ()
    data: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, str] = field(default_factory=dict)
    study_file: str = ""
    logs: Mapping[str, bool] = field(default_factory=dict)
    maximized: frozenset[str] = frozenset()
    front: Sequence[int] = ()
    importance: Importance | None = None
    timing: Mapping[str, float] = field(default_factory=dict)

    def count(self, state: str) -> int:
        """Count the trials that ended in this state."""
        return 0 if self.trials.empty else int((self.trials["state"].astype(str) == state).sum())

    def finite(self, *metrics: str) -> pd.DataFrame:
        """Select the complete and pruned trials that have finite numbers for all these metrics."""
        import numpy as np

        if self.trials.empty or any(name not in self.trials for name in metrics):
            return self.trials.iloc[:0]
        known = np.isfinite(self.trials[list(metrics)].to_numpy(dtype=float, na_value=float("nan"))).all(axis=1)
        ended = self.trials["state"].astype(str).isin(("COMPLETE", "PRUNED")).to_numpy()
        shown: pd.DataFrame = self.trials.loc[known & ended]
        return shown

    def knobs(self) -> list[str]:
        """List the knobs in which the trials differ, by flat name, in the frame's order."""
        names = [str(name) for name in self.trials.columns if "." in str(name)]
        return [name for name in names if self.trials[name].nunique(dropna=False) > 1]
