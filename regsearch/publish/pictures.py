"""Draw what a study leaves behind, and keep it with the parent run: learning curves, gaps, the Pareto front."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from regsearch.driver.plan import SearchResult
from regsearch.driver.ranking import front_rows, with_values
from regsearch.finals.hold import FinalsResult
from regsearch.finals.plan import Contender
from regsearch.regularizers import strength_knobs
from regsearch.space import active_regularizers
from regsearch.system import schema
from regsearch.system.files import write_json
from regsearch.tracking.log.records import Artifact, Note, Tracker
from regsearch.trial import Trial, TrialState

PICTURES = "pictures"


def keep_finals(finals: FinalsResult, epochs: int, loss_words: str, folder: Path, tracker: Tracker) -> None:
    """Keep the summary of the finals and their learning curves.

    Args:
        epochs: that a final trains at most.
        loss_words: what the loss is, on the axis of the picture.
    """
    from regsearch.analysis.study_pictures import learning_curves

    folder.mkdir(exist_ok=True)
    ours, theirs = (_curves(contender, epochs) for contender in (finals.winner, finals.baseline))
    _keep_pictures(learning_curves(ours, theirs, loss_words, folder / "learning_curves"), tracker)
    write_json(folder / "summary.json", {schema.KEY: schema.FINALS, **finals.summary.to_json()})
    tracker.append(Artifact("study", 0, str(folder / "summary.json"), "finals"))


def keep_gaps(trials: Iterable[Trial], winner: Trial | None, folder: Path, tracker: Tracker) -> None:
    """Keep a picture of the gap against the validation loss, a point for each trial that was trained."""
    from regsearch.analysis.study_pictures import gap_against_loss

    strengths, rows = strength_knobs(), []
    for trial in trials:
        if not trial.reports or trial.state not in (TrialState.COMPLETE, TrialState.PRUNED):
            continue
        metrics = trial.kept()
        names = " + ".join(active_regularizers(trial.params, strengths)) or "none"
        measured = {name: metrics[name] for name in ("val_loss", "train_loss", "gap")}
        rows.append({"number": trial.number, "state": trial.state.value, "regularizers": names, **measured})
    if rows:
        folder.mkdir(exist_ok=True)
        number = winner.number if winner else None
        _keep_pictures(gap_against_loss(pd.DataFrame(rows), folder / "gap_against_loss", winner=number), tracker)


def keep_front(result: SearchResult, folder: Path, tracker: Tracker) -> None:
    """Keep the Pareto front of several objectives as `front.json` and as a picture, and tag its numbers."""
    rows = front_rows(result)
    complete = with_values(result.trials.values())
    if rows is None or not complete:
        return
    from regsearch.analysis.front_pictures import pareto_front

    folder.mkdir(exist_ok=True)
    front = {"objectives": list(result.plan.objectives), "front": rows}
    write_json(folder / "front.json", {schema.KEY: schema.FINALS, **front})
    tracker.append(Artifact("study", 0, str(folder / "front.json"), "front"))
    numbers = [row["number"] for row in rows]
    tracker.append(Note({"regsearch.front": " ".join(map(str, numbers))[:500]}))
    files = pareto_front(
        {trial.number: trial.values for trial in complete},
        result.plan.objectives,
        result.plan.directions,
        numbers,
        {trial.number for trial in complete if trial.violation > 0},
        folder / "pareto_front",
    )
    _keep_pictures(files, tracker)


def _keep_pictures(files: Iterable[Path], tracker: Tracker) -> None:
    for path in files:
        tracker.append(Artifact("study", 0, str(path), PICTURES))


def _curves(contender: Contender, epochs: int) -> dict[str, list[list[float]]]:
    """Curves [S, E] of training and validation loss on the study's own cut, NaN after an early end."""
    gone = [float("nan")] * epochs
    finals = [run.trial for run in contender.on_split()]
    return {
        name: [([report.metrics[name] for report in final.reports] + gone)[:epochs] for final in finals]
        for name in ("train_loss", "val_loss")
    }
