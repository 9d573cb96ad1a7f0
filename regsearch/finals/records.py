"""Tell the store what the finals showed once the test was opened: every final's test and role, and the result."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from regsearch.analysis.finals_summary import FinalsSummary, per_final
from regsearch.driver.plan import TURN_MS
from regsearch.finals.plan import Contender, FinalRun
from regsearch.finals.sealed_test import TestedFinals
from regsearch.tracking.log.history import StudyHistory
from regsearch.tracking.log.outbox import Outbox
from regsearch.tracking.log.records import Metrics, Note

ROLE, ROLES = "regsearch.role", "regsearch.roles"
EARLIER, REFIT = "earlier", "refit"
"""Roles of finals that were held before and not this time, and of the refit."""


def record_roles(
    outbox: Outbox, contenders: Sequence[Contender], winner: Contender, before: Iterable[int], refit: FinalRun | None
) -> None:
    """Tag every final with its role, its weightiest where it has several, and with all of them.

    Args:
        before: the numbers of the finals that were held earlier.
    """
    now = set()
    for contender in contenders:
        roles = contender.finalist.all_roles(won=contender.finalist is winner.finalist)
        for run in contender.runs:
            now.add(run.trial.number)
            outbox.append(Note({ROLE: roles[0], ROLES: ",".join(roles)}, "final", run.trial.number))
    if refit is not None:
        now.add(refit.trial.number)
        outbox.append(Note({ROLE: REFIT, ROLES: REFIT}, "final", refit.trial.number))
    for number in before:
        if number not in now:
            outbox.append(Note({ROLE: EARLIER, ROLES: EARLIER}, "final", number))


def record_tests(outbox: Outbox, tested: TestedFinals, metric: str, start_ms: int) -> None:
    """Give each final its `test_loss`, `test_<metric>` and `optimism`, at the epoch whose weights it kept."""
    for contender in tested.contenders:
        if contender.measured is None:
            continue
        measured = per_final(contender.measured, tested.truth, metric)
        for run, values in zip(contender.runs, measured, strict=True):
            if values:
                epoch, number = run.trial.kept_epoch, run.trial.number
                outbox.append(Metrics("final", number, epoch, values, start_ms + number * TURN_MS + epoch))


def record_result(outbox: Outbox, summary: FinalsSummary, time_ms: int) -> None:
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
