"""Take a snapshot of a search for whoever shows it."""

from __future__ import annotations

from typing import Any

from regsearch.driver.base import StudyDriver
from regsearch.study.progress import Snapshot
from regsearch.study.usage import SearchUsage
from regsearch.trial import TrialState


def snapshot(study: str, driver: StudyDriver[Any], usage: SearchUsage) -> Snapshot:
    """Take a snapshot of a search as it stands."""
    trials, executor = driver.trials.values(), driver.executor
    counts = {state: sum(trial.state is state for trial in trials) for state in TrialState}
    ended = sum(count for state, count in counts.items() if state.ended)
    best, elapsed, running = driver.best(), usage.elapsed(), counts[TrialState.RUNNING]
    return Snapshot(
        study=study,
        phase="search",
        total=driver.total,
        complete=counts[TrialState.COMPLETE],
        pruned=counts[TrialState.PRUNED],
        failed=counts[TrialState.FAIL],
        running=running,
        waiting=driver.total - ended - running,
        objective=driver.plan.objectives[0],
        best_value=best.value if best else None,
        best_number=best.number if best else None,
        best_params=best.params if best else {},
        baseline_value=driver.trials[0].value,
        width=executor.width,
        workers=executor.workers,
        occupancy=running / executor.lanes,
        trial_steps_per_second=usage.steps_per_second(),
        elapsed=elapsed,
        eta=elapsed * (driver.total - ended) / ended if ended else None,
    )
