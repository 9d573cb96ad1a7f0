"""Train the winner once more, on training and validation rows together, to be the champion.

No row is left to measure it on but the sealed test, which the finals have judged the winner by already. So its curves
hold the training loss alone, and it has no gap.
"""

from __future__ import annotations

import statistics
from dataclasses import replace

from regsearch.config import StudyConfig
from regsearch.driver.retrain import Weights, train_all
from regsearch.executors.executor import Executor
from regsearch.finals.plan import Contender, FinalNumbers, FinalRun
from regsearch.finals.train import Tags, record_final
from regsearch.regularizers import all_regularizers
from regsearch.regularizers.loops import Average
from regsearch.space import Params, regularizer_of
from regsearch.tracking.log.records import Tracker
from regsearch.trial import Trial, derive_seed


def refit_epochs(winner: Contender) -> int:
    """Choose how long to train: the median of the epochs whose weights the winner's finals on the study's cut kept.

    Without early stopping that is the last one. The lower of two middle ones.
    """
    return statistics.median_low([run.trial.kept_epoch for run in winner.good()])


def unobserved(params: Params) -> Params:
    """Drop the rules that look at the validation loss, which has no meaning in a refit, from a setting."""
    loops = {
        rule.name for rule in all_regularizers().values() if rule.site == "loops" and not issubclass(rule, Average)
    }
    return {name: value for name, value in params.items() if regularizer_of(name) not in loops}


def train_refit(
    config: StudyConfig,
    winner: Contender,
    executor: Executor,
    tracker: Tracker,
    numbers: FinalNumbers,
    start_ms: int,
    tags: Tags,
) -> FinalRun:
    """Train the winner on the rows that `executor` has, with a seed of its own, and record it as a final."""
    trial, epochs = winner.finalist.trial, refit_epochs(winner)
    seed = derive_seed(config.search.seed, "refit")
    params = {**unobserved(trial.params), "seed": seed, "candidate": trial.number, "epochs": epochs}
    final = Trial(numbers.of(params), unobserved(trial.params), seed, "final")
    final.stages = tuple(replace(each, params=unobserved(dict(each.params)), seed=seed) for each in trial.stages)
    run = FinalRun(final, params)
    trained: Weights = {}
    train_all(executor, [final], epochs, lambda _, weights: trained.update(weights))
    run.weights = trained if final.reason is None else None
    record_final(tracker, run, tags(trial), start_ms, config.train.epochs, only="train_")
    return run
