"""The refit: the winner trained once more, on training and validation rows together, to be the champion.

No row is left to measure it on but the sealed test, which the finals have judged the winner by already. So its curves
hold the training loss alone, and it has no gap.
"""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import Any

from regsearch.config import StudyConfig
from regsearch.driver.rounds import train_all
from regsearch.executors.executor import Executor
from regsearch.finals.plan import Finals, Numbers, Weights, record_final
from regsearch.regularizers import all_regularizers
from regsearch.regularizers.loops import Average
from regsearch.tracking.log.records import Tracker
from regsearch.trial import Trial, derive_seed


def refit_epochs(finals: Finals, winner: int) -> int:
    """How long to train: the median of the epochs whose weights the winner's finals on the study's own cut kept.

    Without early stopping that is the last one. The lower of two middle ones.
    """
    good = [final for final in finals.of_split(winner) if final.reason is None]
    return statistics.median_low([final.kept_epoch for final in good])


def unobserved(params: dict[str, Any]) -> dict[str, Any]:
    """The setting without rules that look at the validation loss, which has no meaning in a refit."""
    loops = {
        rule.name for rule in all_regularizers().values() if rule.site == "loops" and not issubclass(rule, Average)
    }
    return {name: value for name, value in params.items() if name.partition(".")[0] not in loops}


def train_refit(
    config: StudyConfig,
    finals: Finals,
    winner: int,
    executor: Executor,
    tracker: Tracker,
    numbers: Numbers,
    start_ms: int,
    tags: dict[str, str],
) -> tuple[Trial, Weights]:
    """Train the winner on the rows that `executor` has, with a seed of its own, and record it as a final.

    Returns:
        The final and its weights, which are empty where it diverged.
    """
    trial, epochs = finals.entrants[winner].trial, refit_epochs(finals, winner)
    seed = derive_seed(config.search.seed, "refit")
    params = {**unobserved(trial.params), "seed": seed, "candidate": trial.number, "epochs": epochs}
    final = Trial(numbers.of(params), unobserved(trial.params), seed, "final")
    final.stages = tuple(replace(each, params=unobserved(dict(each.params)), seed=seed) for each in trial.stages)
    trained: Weights = {}
    train_all(executor, [final], epochs, lambda _, weights: trained.update(weights))
    record_final(tracker, final, params, tags, start_ms, config.train.epochs, only="train_")
    return final, trained
