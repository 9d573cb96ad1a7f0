"""What the store is told once the test was opened: every final's test and role, and the study's own result."""

from __future__ import annotations

import math
from typing import Any

from regsearch.analysis.finals_summary import Candidate, FinalsSummary, per_final
from regsearch.driver.base import TURN_MS
from regsearch.finals.plan import Finals
from regsearch.tracking.log.history import StudyHistory
from regsearch.tracking.log.outbox import Outbox
from regsearch.tracking.log.records import Metrics, Note
from regsearch.trial import Trial

ROLE, ROLES = "regsearch.role", "regsearch.roles"
EARLIER, REFIT = "earlier", "refit"
"""Roles of finals that were held before and not this time, and of the refit."""


def tell_roles(outbox: Outbox, finals: Finals, winner: int, before: list[int], refit: Trial | None) -> None:
    """Tag every final with its role, its weightiest where it has several, and with all of them."""
    for index, entrant in enumerate(finals.entrants):
        roles = entrant.all_roles(won=index == winner)
        for final in finals.trials[index]:
            outbox.append(Note({ROLE: roles[0], ROLES: ",".join(roles)}, "final", final.number))
    if refit is not None:
        outbox.append(Note({ROLE: REFIT, ROLES: REFIT}, "final", refit.number))
    now = {final.number for group in finals.trials for final in group} | ({refit.number} if refit else set())
    for number in before:
        if number not in now:
            outbox.append(Note({ROLE: EARLIER, ROLES: EARLIER}, "final", number))


def tell_tests(
    outbox: Outbox, finals: Finals, measured: list[Candidate | None], truth: Any, metric: str, start_ms: int
) -> None:
    """Give each final its `test_loss`, `test_<metric>` and `optimism`, at the epoch whose weights it kept."""
    for group, candidate in zip(finals.trials, measured, strict=True):
        if candidate is None:
            continue
        for final, values in zip(group, per_final(candidate, truth, metric), strict=True):
            if values:
                epoch = final.kept_epoch
                time_ms = start_ms + final.number * TURN_MS + epoch
                outbox.append(Metrics("final", final.number, epoch, values, time_ms))


def tell_result(outbox: Outbox, summary: FinalsSummary, time_ms: int) -> None:
    """Give the parent run the result as metrics. Finals that are held again and find another are its next step."""
    contrast = summary.contrast
    values = {
        f"test_{contrast.metric}": summary.winner.test_metric.value,
        f"baseline_test_{contrast.metric}": summary.baseline.test_metric.value,
        "difference": contrast.difference,
        "difference_low": contrast.low,
        "difference_high": contrast.high,
        "p_better": contrast.p_better,
    }
    finite = {name: value for name, value in values.items() if math.isfinite(value)}
    results = StudyHistory.read(outbox.path).results
    last = max(results, default=0)
    if results.get(last) != finite:
        step = last + 1
        outbox.append(Metrics("study", 0, step, finite, time_ms + step))
    outbox.append(Note({"regsearch.claim": str(summary.claim).lower()}))
