"""Weigh what mattered in a study: kept with its runs when it ends, and looked up by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from regsearch.errors import UserError
from regsearch.space import SCHEDULE, SearchSpace, knob_of, regularizer_of
from regsearch.system import schema
from regsearch.system.files import write_json
from regsearch.tracking.log.records import Artifact, Tracker
from regsearch.trial import Report, Trial, TrialState
from regsearch.workspace.folder import home
from regsearch.workspace.forms import check_versions, read_log
from regsearch.workspace.spec import StudySpec
from regsearch.workspace.stores import refuse_lost

if TYPE_CHECKING:
    from regsearch.analysis.importance import Importance


def keep_importance(trials: Iterable[Trial], space: SearchSpace, folder: Path, tracker: Tracker) -> Importance | None:
    """Write `importance.json` and its pictures into `folder`, as artifacts of the parent run.

    Returns:
        What was written; None where too few trials were trained to say anything, which `study importance` tells.
    """
    from regsearch.analysis.knob_pictures import pictures

    try:
        importances = weigh(trials, space)
    except UserError:
        return None
    folder.mkdir(exist_ok=True)
    write_json(folder / "importance.json", {schema.KEY: schema.FINALS, **importances.to_json()})
    tracker.append(Artifact("study", 0, str(folder / "importance.json"), "importance"))
    for path in pictures(importances, folder):
        tracker.append(Artifact("study", 0, str(path), "pictures"))
    return importances


def importance_of(name: str, tracking_uri: str | None = None) -> Importance:
    """Measure what mattered in the study `name`, from its runs in MLflow.

    Args:
        tracking_uri: the store of a study that was run elsewhere, of which complete trials alone can be looked at; None
            for one that was started here.

    Raises:
        UserError: there is no such study, or it has too few trials.
    """
    if tracking_uri is None:
        spec = StudySpec.open(name)
        check_versions(spec.folder)
        return weigh(_trials(spec, read_log(spec.folder).reports()), spec.space)
    from regsearch.analysis.importance import importance
    from regsearch.tracking.mlflow.runs import read_runs
    from regsearch.tracking.mlflow.store import tracking_uri as address

    return importance(read_runs(address(tracking_uri, home()), name))


def weigh(trials: Iterable[Trial], space: SearchSpace) -> Importance:
    """Measure what mattered over the complete trials, or, where pruning left too few of them, over all that were
    trained to the last epoch that enough of them reached: losses and gaps of one epoch can be compared.

    Raises:
        UserError: too few trials reached any epoch, or no knob differs between them.
    """
    from regsearch.analysis.importance import LEAST, importance

    chosen = [trial for trial in trials if trial.reports and trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    complete = [trial for trial in chosen if trial.state is TrialState.COMPLETE]
    lengths = sorted((len(trial.reports) for trial in chosen), reverse=True)
    if len(complete) >= LEAST or len(chosen) < LEAST:
        return importance(_frame(complete, [trial.kept() for trial in complete]), space=space)
    epoch = lengths[min(2 * LEAST, len(lengths)) - 1]
    reached = [trial for trial in chosen if len(trial.reports) >= epoch]
    importances = importance(
        _frame(reached, [dict(trial.reports[epoch - 1].metrics) for trial in reached]), space=space
    )
    return replace(importances, epoch=epoch)


def _frame(trials: Sequence[Trial], measured: Sequence[dict[str, float]]) -> pd.DataFrame:
    """Trials with what was measured of them, each as complete as the others."""
    rows = [
        {"number": trial.number, "state": TrialState.COMPLETE.value, **trial.params, **metrics}
        for trial, metrics in zip(trials, measured, strict=True)
    ]
    return pd.DataFrame(rows, columns=None if rows else ["number", "state", "val_loss", "gap"])


def _trials(spec: StudySpec, curves: Mapping[int, list[Report]]) -> list[Trial]:
    """The study's trials: settings and ends from the store, curves from the outbox, which knows what was restored."""
    from regsearch.tracking.mlflow.runs import read_runs

    frame = read_runs(spec.uri, spec.name)
    refuse_lost(spec.folder, [("study", 0), *zip(frame["kind"], frame["number"], strict=True)])
    trials = []
    for row in frame[frame["kind"] == "trial"].to_dict("records"):
        params = {str(name): each for name, each in row.items() if _is_knob(str(name)) and not pd.isna(each)}
        state = TrialState.__members__.get(str(row["state"]), TrialState.RUNNING)
        trials.append(Trial(int(row["number"]), params, 0, state=state, reports=curves.get(int(row["number"]), [])))
    return trials


def _is_knob(column: str) -> bool:
    return bool(knob_of(column)) and regularizer_of(column) != SCHEDULE
