"""Sum up finals that were tested: the winner against the baseline and the others, and what to allow for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from regsearch.analysis.concentration import few_rows
from regsearch.analysis.finals_summary import FinalsSummary, summarize
from regsearch.analysis.finals_words import describe
from regsearch.config import StudyConfig
from regsearch.finals.decide import all_diverged
from regsearch.finals.plan import Contender, baseline_of
from regsearch.finals.sealed_test import TestedFinals

_FEW = 2
"""Settings that may win beside the baseline without a word: the claim's error stays within 5 %."""


def summarize_finals(
    config: StudyConfig, tested: TestedFinals, winner: Contender, metric: str, missing: Sequence[str]
) -> FinalsSummary:
    """Summarize the finals.

    Args:
        metric: of the task, by which the winner is held against the baseline.
        missing: a line for each kind of finalist that the study has none of.

    Raises:
        UserError: the winner or the baseline diverged at every seed.
    """
    winning, baseline = tested.of(winner), baseline_of(tested.contenders)
    if winning.measured is None or baseline.measured is None:
        raise all_diverged()
    others = [contender for contender in tested.contenders if contender not in (winning, baseline)]
    compared = [
        (contender.finalist.all_roles(won=False)[0], contender.measured)
        for contender in others
        if contender.measured is not None
    ]
    summary = summarize(
        winning.measured,
        baseline.measured,
        tested.truth,
        metric,
        seed=config.search.seed,
        splits=config.finalize.splits,
        others=compared,
    )
    lines = (*_left_out(summary, others), *_more_claims(tested.contenders))
    return replace(summary, missing=(*missing, *lines, *few_rows(winning.measured, baseline.measured)))


def _left_out(summary: FinalsSummary, others: Sequence[Contender]) -> list[str]:
    shown = {each.summary.label for each in summary.others}
    labels = [describe(contender.finalist.trial.params) for contender in others]
    return [
        f"{label or 'no regularization'} is left out: at every seed it diverged"
        for label in labels
        if label not in shown
    ]


def _more_claims(contenders: Sequence[Contender]) -> list[str]:
    could_win = sum(contender.finalist.wins for contender in contenders) - 1
    if could_win <= _FEW:
        return []
    return [
        f"{could_win} settings could win, chosen by the finals that are tested: where none is any better, "
        f"up to {2.5 * could_win:g} % of studies would claim, not 2.5 %"
    ]
