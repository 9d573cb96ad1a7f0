"""Finals: the entrants trained again on fresh paired seeds, decided on validation, then tested once.

The winner is chosen by mean validation loss over its finals and written to the ledger before the sealed test is opened.
Finals of one split follow one another: entry split * seeds + k of a candidate has the k-th seed, in all candidates.
"""

from __future__ import annotations

import io
import json
import math
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from regsearch.analysis.comparison import NO_TRIAL, Candidate
from regsearch.analysis.report import baseline_label, describe
from regsearch.books import TURN_MS
from regsearch.config import StudyConfig
from regsearch.data import Manifest, load_search_data, open_test
from regsearch.driver import train_all
from regsearch.entrants import BASELINE, Entrant
from regsearch.errors import UserError
from regsearch.executors.base import Executor
from regsearch.tracking.outbox import read_from
from regsearch.tracking.package import seal
from regsearch.tracking.protocol import Metrics, RunEnd, RunStart, Tracker
from regsearch.trial import Trial, derive_seed

if TYPE_CHECKING:
    from regsearch.core.program import Program

Weights = dict[str, Any]
Params = dict[str, Any]


class Numbers:
    """The numbers of finals. Those that an outbox has keep theirs, whichever finals are held next; others get the
    lowest that are free, so a resumed study gives the same ones again.
    """

    def __init__(self, outbox: Path) -> None:
        starts = [record for record, _ in read_from(outbox) if isinstance(record, RunStart) and record.kind == "final"]
        self._known = {_key(record.params): record.number for record in starts}
        self.before = sorted(self._known.values())

    def of(self, params: Params) -> int:
        """The number of the final with these parameters in the store: its knobs, seed, candidate and split."""
        key = _key(params)
        if key not in self._known:
            taken = set(self._known.values())
            self._known[key] = next(number for number in range(len(taken) + 1) if number not in taken)
        return self._known[key]


def _key(params: Mapping[str, Any]) -> str:
    return json.dumps(dict(params), sort_keys=True)


@dataclass
class Finals:
    """The finals of one study.

    Args:
        entrants: the candidates.
        trials: by candidate, the seeds of each split, one split's after the other's.
        splits: how many cuts of training and validation; the first is the study's own.
        params: of every final in the store, by number.
        weights: of every final that did not fail, by number.
    """

    entrants: list[Entrant]
    trials: list[list[Trial]]
    splits: int
    params: dict[int, Params]
    weights: dict[int, Weights]

    @property
    def baseline(self) -> int:
        """The index of the baseline."""
        return next(i for i, entrant in enumerate(self.entrants) if BASELINE in entrant.roles)

    def of_split(self, index: int, split: int = 0) -> list[Trial]:
        """The finals of a candidate on one cut."""
        seeds = len(self.trials[index]) // self.splits
        return self.trials[index][split * seeds : (split + 1) * seeds]


def plan_finals(config: StudyConfig, entrants: list[Entrant], numbers: Numbers) -> Finals:
    """Every final, not yet trained: each candidate on the study's paired final seeds, on each split."""
    seeds = [derive_seed(config.search.seed, "final", k) for k in range(config.finalize.seeds)]
    finals = Finals(entrants, [], config.finalize.splits, {}, {})
    for entrant in entrants:
        group = []
        for split in range(finals.splits):
            for seed in seeds:
                candidate = "default" if entrant.trial.number == NO_TRIAL else entrant.trial.number
                params: Params = {**entrant.trial.params, "seed": seed, "candidate": candidate}
                params |= {"split": split} if split else {}
                final = Trial(numbers.of(params), dict(entrant.trial.params), seed, "final")
                final.stages = tuple(replace(stage, seed=seed) for stage in entrant.trial.stages)
                finals.params[final.number] = params
                group.append(final)
        finals.trials.append(group)
    return finals


def train_finals(
    config: StudyConfig,
    finals: Finals,
    on: Callable[[int], AbstractContextManager[Executor]],
    tracker: Tracker,
    start_ms: int,
    tags: Callable[[Trial], dict[str, str]],
) -> None:
    """Train all finals, those of a split together; record every one with the tracker.

    Args:
        on: gives the executor that has a split's rows.
    """

    def ended(final: Trial, trained: Weights) -> None:
        if final.reason is None:
            finals.weights[final.number] = trained
        record_final(tracker, final, finals.params[final.number], tags(final), start_ms, config.train.epochs)

    for split in range(finals.splits):
        with on(split) as executor:
            mine = [final for index in range(len(finals.entrants)) for final in finals.of_split(index, split)]
            train_all(executor, mine, config.train.epochs, ended)


def record_final(
    tracker: Tracker, final: Trial, params: Params, tags: dict[str, str], start_ms: int, epochs: int, only: str = ""
) -> None:
    """Tell the tracker of a final that has ended; of its metrics those that begin with `only`."""
    start = start_ms + final.number * TURN_MS
    tracker.append(RunStart("final", final.number, f"final-{final.number:03d}", params, tags, start))
    for report in final.reports:
        told = {key: value for key, value in report.metrics.items() if math.isfinite(value) and key.startswith(only)}
        tracker.append(Metrics("final", final.number, report.epoch, told, start + report.epoch))
    state: Any = final.state.value
    end = start + epochs
    tracker.append(RunEnd("final", final.number, state, final.reason, end, final.reports[-1].restored))
    tracker.commit()


def kept_epoch(final: Trial) -> int:
    """The epoch whose weights the final kept."""
    last = final.reports[-1]
    return last.restored or last.epoch


def kept(final: Trial) -> dict[str, float]:
    """The metrics of the epoch whose weights the final kept."""
    epoch = kept_epoch(final)
    return dict(next(report.metrics for report in final.reports if report.epoch == epoch))


def mean_validation(group: list[Trial]) -> float:
    """Mean validation loss over a candidate's finals; infinite where one diverged."""
    losses = [kept(final)["val_loss"] if final.reason is None else math.inf for final in group]
    return float(np.mean(losses))


def decide(finals: Finals) -> int:
    """The index of the winner: of the candidates that may win the one of lowest mean validation loss, the baseline last
    among equals.

    Raises:
        UserError: at every seed a final of it or of the baseline diverged, so there is nothing to test.
    """
    means = [mean_validation(group) for group in finals.trials]
    wins = [i for i, entrant in enumerate(finals.entrants) if entrant.wins]
    best = min(wins, key=lambda i: (means[i], i == finals.baseline))
    if any(all(final.reason for final in finals.trials[i]) for i in (best, finals.baseline)):
        raise UserError("at every seed of the finals a candidate diverged", allowed="lower the learning rate")
    return best


def test_finals(
    config: StudyConfig, program: Program, finals: Finals, winner: int, folder: Path, ledger: Path
) -> tuple[list[Candidate | None], Any]:
    """Write the decision for `winner` to the ledger, open the sealed test, and measure every candidate on it.

    Returns:
        What each candidate measured, None where none of its finals can predict, and the truth [N].
    """
    import torch

    trial = finals.entrants[winner].trial
    mean = mean_validation(finals.trials[winner])
    others = [each.trial.number for each in finals.entrants if each.trial.number not in (trial.number, 0)]
    decision = {"winner": trial.number, "params": trial.params, "mean_val_loss": mean, "others": others}
    x, y = open_test(folder / "data", ledger, config.name, "finals", decision)
    test_x, test_y = torch.from_numpy(np.array(x)), torch.from_numpy(np.array(y))
    known = load_search_data(folder / "data")
    rows: dict[str, tuple[Any, ...]] = {"test": (test_x, test_y)}
    if finals.splits == 1:  # else each cut has validation rows of its own
        rows["validation"] = tuple(
            torch.from_numpy(np.array(each)) for each in (known.validation_x, known.validation_y)
        )
    measured = [_candidate(program, finals, index, rows) for index in range(len(finals.entrants))]
    truth = next(each[1] for each in measured if each is not None)
    return [None if each is None else each[0] for each in measured], truth


def _candidate(
    program: Program, finals: Finals, index: int, rows: Mapping[str, tuple[Any, ...]]
) -> tuple[Candidate, Any] | None:
    """What the finals of one candidate measured on the test rows, and the truth [N] that it is judged against.

    Args:
        rows: x and y of the test, and of other parts of which each row's loss is to be known, by part.
    """
    import torch

    from regsearch.core.strengths import Knobs

    group, trial = finals.trials[index], finals.entrants[index].trial
    good = [row for row, final in enumerate(group) if final.number in finals.weights]
    if not good:
        return None
    w, buffers = stacked(program, [finals.weights[group[row].number] for row in good])
    knobs = Knobs(program, len(good))
    for slot, row in enumerate(good):
        knobs.load(slot, group[row].params)
    y = rows["test"][1]
    out = program.outputs(w, buffers, rows["test"][0], knobs.values)
    losses = {"test": [program.task.loss(each, program.task.encode(y)) for each in out]}
    for part in rows.keys() - {"test"}:
        outputs = program.outputs(w, buffers, rows[part][0], knobs.values)
        losses[part] = [program.task.loss(each, program.task.encode(rows[part][1])) for each in outputs]
    loss = torch.stack([each.mean() for each in losses["test"]])
    predictions, truth = program.task.judged(out.numpy(), y.numpy())
    more = program.task.at_finals(out.numpy(), y.numpy())
    epochs = [kept(final) for final in group]
    label = baseline_label(trial.params) if index == finals.baseline else describe(trial.params)
    measured = Candidate(
        trial.number,
        trial.params,
        label,
        kept(trial)["val_loss"] if trial.reports else math.nan,
        [each.get("train_loss", math.nan) for each in epochs],
        [each.get("val_loss", math.nan) for each in epochs],
        _at(good, loss.numpy().astype(np.float64), len(group), math.nan),
        [each.get(f"train_{program.task.metric}", math.nan) for each in epochs],
        _at(good, predictions, len(group), 0),
        {name: float(np.nanmean(values)) for name, values in more.items()},
        {part: torch.stack(of_finals).mean(0).numpy() for part, of_finals in losses.items()},
    )
    return measured, truth


def _at(rows: list[int], values: Any, size: int, other: float) -> Any:
    """`values` [R, ...] at these rows of an array [size, ...], `other` elsewhere.

    Of finals that diverged the losses are not finite, so what they predict is never looked at.
    """
    found = np.full((size, *values.shape[1:]), other, dtype=values.dtype)
    found[rows] = values
    return found


def stacked(program: Program, weights: list[Weights]) -> tuple[Any, dict[str, Any]]:
    """Weights of several trials as rows [S, P] and buffers [S, ...]."""
    import torch

    tensors = [{name: torch.from_numpy(np.array(value)) for name, value in each.items()} for each in weights]
    rows = torch.stack([program.layout.row(each) for each in tensors])
    return rows, {name: torch.stack([each[name] for each in tensors]) for name in program.buffers}


def package_champion(program: Program, data: Path, weights: Weights, params: Mapping[str, Any], out: Path) -> None:
    """Write the folder that becomes the registered model: program, manifest, preprocessing code, input example, sums.

    `model.pt2` maps rows [N, F...], of the manifest's dtype, to outputs [N, C...] and needs torch alone.
    """
    import torch

    from regsearch.data import columns

    module = program.alone({name: torch.from_numpy(np.array(value)) for name, value in weights.items()}, params)
    manifest = Manifest.load(data)
    example = torch.zeros((4, *manifest.inputs), dtype=getattr(torch, manifest.dtype))
    exported = export_rows(module, example)
    aside = out.with_name(out.name + ".part")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    # Through memory: of a full disk torch's own writing says no more than that it failed.
    program_file = io.BytesIO()
    torch.export.save(exported, program_file)
    (aside / "model.pt2").write_bytes(program_file.getvalue())
    shutil.copy(data / "manifest.json", aside / "manifest.json")
    shutil.copy(data / "example.json", aside / "example.json")
    shutil.copy(str(columns.__file__), aside / "columns.py")
    seal(aside)
    shutil.rmtree(out, ignore_errors=True)
    os.replace(aside, out)


def export_rows(module: Any, example: Any) -> Any:
    """The module as a program of its own for any number of rows from two up, traced on the rows `example` [N, F...]."""
    import warnings

    import torch

    with warnings.catch_warnings():
        # Recurrent layers list their weights anew in each call, which the exporter takes for forgotten buffers.
        warnings.filterwarnings("ignore", message=r".*_flat_weights.*were assigned during export", category=UserWarning)
        batch = torch.export.Dim("batch", min=2)
        return torch.export.export(module, (example,), dynamic_shapes=({0: batch},))
