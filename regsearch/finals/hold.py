"""Hold the finals of a search: train them, choose the winner, open the test, and record what it showed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from regsearch.analysis.finals_summary import FinalsSummary
from regsearch.core.products import products_agree
from regsearch.data import join, resample
from regsearch.driver.executor import StudyExecutors
from regsearch.driver.plan import TURN_MS, SearchResult
from regsearch.executors.executor import Executor
from regsearch.finals.decide import decide
from regsearch.finals.finalists import choose_finalists
from regsearch.finals.plan import Contender, FinalNumbers, FinalRun, baseline_of, plan_finals
from regsearch.finals.records import record_result, record_roles, record_tests
from regsearch.finals.refit import train_refit
from regsearch.finals.sealed_test import open_sealed_test
from regsearch.finals.summary import summarize_finals
from regsearch.finals.train import Tags, train_finals
from regsearch.regularizers import strength_knobs
from regsearch.space import SearchSpace
from regsearch.tracking.log.outbox import Outbox
from regsearch.trial import Trial, derive_seed
from regsearch.workspace.spec import StudySpec

if TYPE_CHECKING:
    from regsearch.core.program import Program

_TOO_LATE = (
    "this process multiplied matrices before it imported regsearch: the test's figures may differ in their last digits "
    "from another process's; import regsearch first"
)


@dataclass(frozen=True)
class FinalsResult:
    """Hold what the finals of a study showed.

    Args:
        summary: winner, baseline and others in numbers.
        contenders: all of them.
        winner, baseline: two of them.
        refit: the winner trained on validation rows too, where that was asked for and did not diverge.
    """

    summary: FinalsSummary
    contenders: Sequence[Contender]
    winner: Contender
    baseline: Contender
    refit: FinalRun | None = None

    @property
    def trial(self) -> Trial:
        """The trial whose setting won."""
        return self.winner.finalist.trial

    @property
    def champion(self) -> FinalRun:
        """The refit, or of the winner's finals on the study's own cut the one of median validation loss."""
        good = sorted(self.winner.good(), key=lambda run: (run.trial.kept()["val_loss"], run.trial.number))
        return self.refit or good[(len(good) - 1) // 2]


def hold_finals(
    spec: StudySpec,
    result: SearchResult,
    space: SearchSpace,
    program: Program,
    executors: StudyExecutors,
    outbox: Outbox,
    tags: Tags,
    say: Callable[[str], None],
    ready: Callable[[], None],
) -> FinalsResult:
    """Train the finalists, choose the winner, open the sealed test, and tell the store what it showed.

    Args:
        space: what trials were drawn from, over the layers of the model.
        program: of the study, to predict with.
        tags: of a trial's run.
        say: is told in a line what a user should know of.
        ready: is called before the test is opened, and refuses a store that would not take what it shows.

    Raises:
        UserError: at every seed the winner or the baseline diverged.
    """
    config, start_ms = spec.config, result.now_ms
    entering = choose_finalists(result.ranked, result.baseline, space, config.finalize.top, strength_knobs())
    numbers = FinalNumbers(outbox.path)
    contenders = plan_finals(config, entering.finalists, numbers)
    train_finals(config, contenders, _on_split(spec, executors), outbox, start_ms, tags)
    winner = decide(contenders)
    refit = _refit(spec, winner, executors, outbox, numbers, start_ms, tags, say) if config.finalize.refit else None
    ready()
    if not products_agree():
        say(_TOO_LATE)
    tested = open_sealed_test(spec.folder, program, contenders, winner)
    summary = summarize_finals(config, tested, winner, program.task.metric, entering.missing)
    record_roles(outbox, tested.contenders, winner, numbers.before, refit)
    record_tests(outbox, tested, program.task.metric, start_ms)
    record_result(outbox, summary, start_ms + TURN_MS)
    return FinalsResult(summary, tested.contenders, tested.of(winner), baseline_of(tested.contenders), refit)


def _on_split(spec: StudySpec, executors: StudyExecutors) -> Callable[[int], AbstractContextManager[Executor]]:
    """Who trains on which cut; the first is the study's own."""

    @contextmanager
    def on_split(split: int) -> Iterator[Executor]:
        if not split:
            yield executors.own()
            return
        folder = spec.folder.splits / str(split)
        resample(spec.folder.data, folder, derive_seed(spec.config.search.seed, "split", split))
        with _on(executors, folder) as executor:
            yield executor

    return on_split


@contextmanager
def _on(executors: StudyExecutors, folder: Path) -> Iterator[Executor]:
    try:
        with executors.on(folder) as executor:
            yield executor
    finally:
        shutil.rmtree(folder.parent)  # they can be cut again


def _refit(
    spec: StudySpec,
    winner: Contender,
    executors: StudyExecutors,
    outbox: Outbox,
    numbers: FinalNumbers,
    start_ms: int,
    tags: Tags,
    say: Callable[[str], None],
) -> FinalRun | None:
    """The winner trained on training and validation rows together; None where that diverged."""
    folder = spec.folder.splits / "refit"
    join(spec.folder.data, folder)
    with _on(executors, folder) as executor:
        run = train_refit(spec.config, winner, executor, outbox, numbers, start_ms, tags)
    if run.weights is None:
        say(f"the refit {run.trial.reason}: the champion is one of the finals")
        return None
    return run
