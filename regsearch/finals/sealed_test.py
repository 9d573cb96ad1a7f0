"""Open the sealed test for the finals, once the winner is written to the ledger, and measure every contender on it.

Legend: S finals of a contender, N test rows, P parameters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from regsearch.analysis.finals_summary import Candidate
from regsearch.analysis.finals_words import baseline_label, describe
from regsearch.core.products import one_thread
from regsearch.data import load_search_data, open_test
from regsearch.driver.retrain import Weights
from regsearch.finals.decide import mean_validation
from regsearch.finals.plan import Contender
from regsearch.workspace.folder import StudyFolder

if TYPE_CHECKING:
    import torch

    from regsearch.core.program import Program


@dataclass(frozen=True)
class TestedFinals:
    """Hold what the finals measured on the sealed test.

    Args:
        contenders: with what each measured.
        truth: [N], what they are judged against.
    """

    __test__ = False  # no test of pytest's

    contenders: tuple[Contender, ...]
    truth: np.ndarray

    def of(self, contender: Contender) -> Contender:
        """Find a contender by its setting, with what it measured."""
        return next(tested for tested in self.contenders if tested.finalist is contender.finalist)


def open_sealed_test(
    folder: StudyFolder, program: Program, contenders: Sequence[Contender], winner: Contender
) -> TestedFinals:
    """Write the decision for `winner` to the ledger, open the sealed test, and measure every contender on it."""
    import torch

    trial = winner.finalist.trial
    others = [contender.number for contender in contenders if contender.number not in (trial.number, 0)]
    decision = {
        "winner": trial.number,
        "params": trial.params,
        "mean_val_loss": mean_validation(winner),
        "others": others,
    }
    x, y = open_test(folder.data, folder.ledger, folder.name, "finals", decision)
    rows = {"test": (torch.from_numpy(np.array(x)), torch.from_numpy(np.array(y)))}
    if not any(run.split for run in winner.runs):  # else each cut has validation rows of its own
        known = load_search_data(folder.data)
        rows["validation"] = (
            torch.from_numpy(np.array(known.validation_x)),
            torch.from_numpy(np.array(known.validation_y)),
        )
    with one_thread():
        measured = [_measure(program, contender, rows) for contender in contenders]
    truth = next(each[1] for each in measured if each is not None)
    tested = (
        replace(contender, measured=None if each is None else each[0])
        for contender, each in zip(contenders, measured, strict=True)
    )
    return TestedFinals(tuple(tested), truth)


def _measure(
    program: Program, contender: Contender, rows: Mapping[str, tuple[torch.Tensor, torch.Tensor]]
) -> tuple[Candidate, np.ndarray] | None:
    """What the finals of one contender measured on the test rows, and the truth [N] that it is judged against.

    Args:
        rows: x and y of the test, and of other parts of which each row's loss is to be known, by part.
    """
    import torch

    from regsearch.core.knob_rows import Knobs

    runs, trial = contender.runs, contender.finalist.trial
    good = [row for row, run in enumerate(runs) if run.weights is not None]
    if not good:
        return None
    w, buffers = stacked(program, [run.weights for run in runs if run.weights is not None])
    knobs = Knobs(program, len(good))
    for slot, row in enumerate(good):
        knobs.load(slot, runs[row].trial.params)
    outputs = {part: program.evaluation.outputs(w, buffers, x, knobs.values) for part, (x, _) in rows.items()}
    losses = {
        part: torch.stack([program.task.loss(each, program.task.encode(y)) for each in outputs[part]])
        for part, (_, y) in rows.items()
    }
    out, y = outputs["test"], rows["test"][1]
    loss = torch.stack([each.mean() for each in losses["test"]])
    predictions, truth = program.task.judged(out.numpy(), y.numpy())
    more = program.task.at_finals(out.numpy(), y.numpy())
    metrics = [run.trial.kept() for run in runs]
    return Candidate(
        trial.number,
        trial.params,
        baseline_label(trial.params) if contender.is_baseline else describe(trial.params),
        trial.kept()["val_loss"] if trial.reports else math.nan,
        [each.get("train_loss", math.nan) for each in metrics],
        [each.get("val_loss", math.nan) for each in metrics],
        _at(good, loss.numpy().astype(np.float64), len(runs), math.nan),
        [each.get(f"train_{program.task.metric}", math.nan) for each in metrics],
        _at(good, predictions, len(runs), 0),
        {name: float(np.nanmean(values)) for name, values in more.items()},
        {part: of_finals.mean(0).numpy() for part, of_finals in losses.items()},
    ), truth


def _at(rows: list[int], values: np.ndarray, size: int, other: float) -> np.ndarray:
    """`values` [R, ...] at these rows of an array [size, ...], `other` elsewhere.

    Of finals that diverged the losses are not finite, so what they predict is never looked at.
    """
    full = np.full((size, *values.shape[1:]), other, dtype=values.dtype)
    full[rows] = values
    return full


def stacked(program: Program, weights: Sequence[Weights]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Stack the weights of several trials: rows [S, P] and buffers [S, ...]."""
    import torch

    tensors = [{name: torch.from_numpy(np.array(value)) for name, value in each.items()} for each in weights]
    rows, buffers = zip(*(program.tensors.to_row(each) for each in tensors), strict=True)
    return torch.stack(rows), {name: torch.stack([each[name] for each in buffers]) for name in buffers[0]}
