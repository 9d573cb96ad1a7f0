"""Finals: winner and baseline trained again on fresh paired seeds, decided on validation, then tested once.

The winner is chosen by mean validation loss over its finals and written to the ledger before the sealed test is opened.
"""

from __future__ import annotations

import io
import json
import math
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from regsearch.analysis.comparison import Candidate, FinalsSummary, summarize
from regsearch.analysis.report import baseline_label, describe
from regsearch.books import TURN_MS
from regsearch.config import StudyConfig
from regsearch.data import Manifest, open_test
from regsearch.driver import train_all
from regsearch.executors.base import Executor
from regsearch.tracking.package import seal
from regsearch.tracking.protocol import Metrics, RunEnd, RunStart, Tracker
from regsearch.trial import Trial, derive_seed

if TYPE_CHECKING:
    from regsearch.core.program import Program

Weights = dict[str, Any]


@dataclass
class Finals:
    """The finals of one study: `trials` by candidate, each with `seeds` entries; `weights` by final number."""

    candidates: list[Trial]
    trials: list[list[Trial]]
    weights: dict[int, Weights]


def train_finals(
    config: StudyConfig,
    executor: Executor,
    tracker: Tracker,
    candidates: list[Trial],
    start_ms: int,
    tags: Callable[[Trial], dict[str, str]],
    epochs_said: Callable[[int], None] = lambda done: None,
) -> Finals:
    """Train each candidate on the study's paired final seeds; record every final with the tracker."""
    seeds = [derive_seed(config.search.seed, "final", k) for k in range(config.finalize.seeds)]
    finals = [
        [Trial(i * len(seeds) + k, dict(candidate.params), seed, "final") for k, seed in enumerate(seeds)]
        for i, candidate in enumerate(candidates)
    ]
    for group, candidate in zip(finals, candidates, strict=True):
        for final in group:
            final.changes = candidate.changes
    origin = {final.number: candidates[i] for i, group in enumerate(finals) for final in group}
    weights: dict[int, Weights] = {}

    def ended(final: Trial, trained: Weights) -> None:
        weights[final.number] = trained
        start = start_ms + final.number * TURN_MS
        params = {**final.params, "seed": final.seed, "candidate": origin[final.number].number}
        name = f"final-{final.number:03d}"
        tracker.append(RunStart("final", final.number, name, params, tags(final), start))
        for report in final.reports:
            finite = {key: value for key, value in report.metrics.items() if math.isfinite(value)}
            tracker.append(Metrics("final", final.number, report.epoch, finite, start + report.epoch))
        end = start + config.train.epochs
        state: Any = final.state.value
        tracker.append(RunEnd("final", final.number, state, final.reason, end, final.reports[-1].restored))
        tracker.commit()
        epochs_said(len(weights))

    train_all(executor, [final for group in finals for final in group], config.train.epochs, ended)
    return Finals(candidates, finals, weights)


def kept(final: Trial) -> dict[str, float]:
    """The metrics of the epoch whose weights the final kept."""
    last = final.reports[-1]
    epoch = last.restored or last.epoch
    return dict(next(report.metrics for report in final.reports if report.epoch == epoch))


def mean_validation(group: list[Trial]) -> float:
    """Mean validation loss over a candidate's finals; infinite where one diverged."""
    losses = [kept(final)["val_loss"] if final.reason is None else math.inf for final in group]
    return float(np.mean(losses))


def decide(finals: Finals) -> int:
    """The index of the winner: the candidate of lowest mean validation loss, the baseline last among equals."""
    means = [mean_validation(group) for group in finals.trials]
    return min(range(len(means)), key=lambda i: (means[i], finals.candidates[i].number == 0))


def test_finals(
    config: StudyConfig, program: Program, finals: Finals, folder: Path, ledger: Path
) -> tuple[FinalsSummary, int]:
    """Write the decision to the ledger, open the sealed test, and compare winner and baseline on it.

    Returns:
        The summary and the index of the winner.
    """
    import torch

    best = decide(finals)
    base = next(i for i, candidate in enumerate(finals.candidates) if candidate.number == 0)
    winner = finals.candidates[best]
    decision = {"winner": winner.number, "params": winner.params, "mean_val_loss": mean_validation(finals.trials[best])}
    x, y = open_test(folder / "data", ledger, config.name, "finals", decision)
    test_x, test_y = torch.from_numpy(np.array(x)), torch.from_numpy(np.array(y))
    one, other = (_candidate(program, finals, index, test_x, test_y) for index in (best, base))
    return summarize(one[0], other[0], one[1], program.task.metric, seed=config.search.seed), best


def _candidate(program: Program, finals: Finals, index: int, x: Any, y: Any) -> tuple[Candidate, Any]:
    """What the finals of one candidate measured on the test rows, and the truth [N] that it is judged against."""
    import torch

    from regsearch.core.strengths import Knobs

    group, trial = finals.trials[index], finals.candidates[index]
    w, buffers = stacked(program, [finals.weights[final.number] for final in group])
    knobs = Knobs(program, len(group))
    for row, final in enumerate(group):
        knobs.load(row, final.params)
    out = program.outputs(w, buffers, x, knobs.values)
    loss = torch.stack([program.task.loss(each, program.task.encode(y)).mean() for each in out])
    predictions, truth = program.task.judged(out.numpy(), y.numpy())
    more = program.task.at_finals(out.numpy(), y.numpy())
    epochs = [kept(final) for final in group]
    selected = trial.value if trial.value is not None and len(trial.reports) else math.nan
    if trial.reports:
        selected = kept(trial)["val_loss"]
    label = baseline_label(trial.params) if trial.number == 0 else describe(trial.params)
    measured = Candidate(
        trial.number,
        trial.params,
        label,
        selected,
        [each["train_loss"] for each in epochs],
        [each["val_loss"] for each in epochs],
        loss.numpy(),
        [each[f"train_{program.task.metric}"] for each in epochs],
        predictions,
        {name: float(np.nanmean(values)) for name, values in more.items()},
    )
    return measured, truth


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


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write beside, flush to disk, rename: the file is whole or not there."""
    aside = path.with_suffix(".part")
    with open(aside, "w") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)
