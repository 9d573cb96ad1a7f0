"""What a search of several objectives, or under constraints, came to: for the answer, and kept with its runs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from regsearch.driver.base import Books
from regsearch.system.files import write_json
from regsearch.tracking.log.records import Artifact, Note, Tracker
from regsearch.trial import Trial, TrialState


def front_rows(driver: Books[Any]) -> list[dict[str, Any]] | None:
    """The front as the answer has it: number, value of each objective, params; None with one objective."""
    if len(driver.objective) < 2:
        return None
    return [
        {
            "number": trial.number,
            "values": dict(zip(driver.objective, trial.values, strict=True)),
            "params": dict(trial.params),
        }
        for trial in driver.front()
    ]


def kept_constraints(driver: Books[Any]) -> dict[str, Any] | None:
    """Which constraints there are, and how many complete trials keep to them; None where there are none."""
    if not driver.constraints:
        return None
    complete = _complete(driver.trials.values())
    kept = sum(trial.violation <= 0 for trial in complete)
    return {"asked": [each.name for each in driver.constraints], "kept_by": kept, "of": len(complete)}


def remark(driver: Books[Any]) -> str:
    """What the answer's sentence must add: that no trial keeps to the constraints; else nothing."""
    found = kept_constraints(driver)
    if found is None or found["kept_by"] or not found["of"]:
        return ""
    return f" No trial keeps to {' and '.join(found['asked'])}: the one that breaks it least was taken."


def keep_front(driver: Books[Any], folder: Path, tracker: Tracker) -> None:
    """With several objectives, keep the front as `front.json` and picture with the parent run, and tag its numbers."""
    rows = front_rows(driver)
    complete = _complete(driver.trials.values())
    if rows is None or not complete:
        return
    from regsearch.analysis.front_pictures import pareto_front

    folder.mkdir(exist_ok=True)
    write_json(folder / "front.json", {"objectives": list(driver.objective), "front": rows})
    tracker.append(Artifact("study", 0, str(folder / "front.json"), "front"))
    numbers = [row["number"] for row in rows]
    tracker.append(Note({"regsearch.front": " ".join(map(str, numbers))[:500]}))
    files = pareto_front(
        {trial.number: trial.values for trial in complete},
        driver.objective,
        driver.directions,
        numbers,
        {trial.number for trial in complete if trial.violation > 0},
        folder / "pareto_front",
    )
    for path in files:
        tracker.append(Artifact("study", 0, str(path), "pictures"))


def _complete(trials: Iterable[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial.state is TrialState.COMPLETE and trial.values]
