"""How much each knob matters, by Optuna's PED-ANOVA."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

TOP, FEWEST = 0.1, 5
"""The best tenth of the trials is held against all of them, and at least five trials, as Optuna advises."""
optuna.logging.set_verbosity(optuna.logging.WARNING)


def shares(
    knobs: Mapping[str, Sequence[float | str | None]], values: Mapping[str, Sequence[float]]
) -> dict[str, dict[str, float]]:
    """Compute each knob's share of what tells the best trials from all, for each of several values; shares add up to 1.

    PED-ANOVA (Watanabe et al., 2023, https://arxiv.org/abs/2304.10255) compares the density of a knob among the best
    trials with that among all: the Pearson divergence between the two is its importance. Optuna's form of it takes
    knobs that only some trials have, too.

    Args:
        knobs: by name a number or a word for each trial; None where the trial does not have the knob.
        values: by name a finite number for each trial; lower is better.

    Returns:
        By the value's name, then the knob's; all shares are 0 where the values do not differ.
    """
    distributions = {name: _distribution(column) for name, column in knobs.items()}
    names, count = list(values), len(next(iter(values.values())))
    study = optuna.create_study(
        storage=optuna.storages.InMemoryStorage(), directions=["minimize"] * len(names), sampler=_NO_SAMPLER
    )
    trials = []
    for index in range(count):
        params = {name: each for name, column in knobs.items() if (each := column[index]) is not None}
        own = {name: distributions[name] for name in params}
        row = [float(values[name][index]) for name in names]
        trials.append(optuna.trial.create_trial(params=params, distributions=own, values=row))
    study.add_trials(trials)
    return {name: _shares(study, index, list(knobs), values[name]) for index, name in enumerate(names)}


_NO_SAMPLER = optuna.samplers.RandomSampler(seed=0)


def _shares(study: optuna.Study, index: int, knobs: list[str], values: Sequence[float]) -> dict[str, float]:
    if min(values) == max(values):
        return dict.fromkeys(knobs, 0.0)
    top = min(max(TOP, FEWEST / len(values)), 0.5)
    with warnings.catch_warnings():
        # That a low target is good, which it is here, and that some knobs are in few trials.
        warnings.simplefilter("ignore")
        importances = get_param_importances(
            study,
            evaluator=PedAnovaImportanceEvaluator(target_quantile=top),
            target=lambda trial: trial.values[index],
            normalize=False,
        )
    total = math.fsum(importances.values())
    return {name: importances.get(name, 0.0) / total if total else 0.0 for name in knobs}


def _distribution(column: Sequence[float | str | None]) -> BaseDistribution:
    present = [each for each in column if each is not None]
    if any(isinstance(each, str) for each in present):
        return CategoricalDistribution(sorted({str(each) for each in present}))
    numbers = [float(each) for each in present]
    return FloatDistribution(min(numbers), max(numbers))
