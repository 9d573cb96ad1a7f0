"""Optuna's samplers by their names in a study file, over the study's own space.

Optuna infers what a joint model can be fitted to from the parameters that all trials have. Trial 0, the baseline, has
none: left to that inference the models would fall back on chance, so each is told the space, and the one that would
trip over the baseline does not see it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from regsearch.errors import UserError
from regsearch.space import NONE, REGULARIZER, Choice, Searched, SearchSpace, Value, switch_name

STARTUP = 10
_GENETIC = ("nsga2", "nsga3")
_JOINT = ("tpe", "gp", "cmaes", *_GENETIC)
CONSTRAINED = ("tpe", "gp", *_GENETIC)
"""Samplers that draw with regard to constraints."""
_TPE: dict[str, Any] = {"n_startup_trials": STARTUP, "multivariate": True, "constant_liar": True}


def distribution(of: Searched) -> BaseDistribution:
    """Make the Optuna distribution of one searched number or word."""
    if isinstance(of, Choice):
        return CategoricalDistribution(of.choices)
    if of.integer:
        return IntDistribution(int(of.low), int(of.high), log=of.log)
    return FloatDistribution(of.low, of.high, log=of.log)


def always_drawn(space: SearchSpace) -> dict[str, BaseDistribution]:
    """List the parameters that every trial but the baseline draws: what a joint model can be fitted to."""
    distributions: dict[str, BaseDistribution] = {}
    if space.choose == "one":
        distributions[REGULARIZER] = CategoricalDistribution((NONE, *space.members))
    elif space.choose == "any":
        distributions.update({switch_name(name): CategoricalDistribution((False, True)) for name in space.members})
    distributions.update({of.name: distribution(of) for of in space.always})
    return dict(sorted(distributions.items()))


def make_sampler(name: str, seed: int, space: SearchSpace) -> BaseSampler:
    """Build a sampler that learns from trials or draws by chance, by its name in the study file; the relative search
    space of one that models parameters jointly is the study's own.

    Raises:
        UserError: its package is missing.
    """
    drawn = always_drawn(space)
    makers: dict[str, Callable[[], BaseSampler]] = {
        "tpe": lambda: optuna.samplers.TPESampler(seed=seed, **_TPE),
        "gp": lambda: optuna.samplers.GPSampler(seed=seed, warn_independent_sampling=False),
        "cmaes": lambda: optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False),
        "nsga2": lambda: optuna.samplers.NSGAIISampler(seed=seed),
        "nsga3": lambda: optuna.samplers.NSGAIIISampler(seed=seed),
        "random": lambda: optuna.samplers.RandomSampler(seed=seed),
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler: BaseSampler = makers[name]()
    except ImportError as error:
        raise UserError(f"sampler {name} needs a package that is missing: {error}", key="search.sampler") from error
    if name in _JOINT:
        joint = {key: each for key, each in drawn.items() if _models(name, each)}
        sampler.infer_relative_search_space = lambda study, trial: joint  # type: ignore[method-assign]
    if name == "gp":
        draw = sampler.sample_relative
        sampler.sample_relative = lambda study, trial, space: draw(_Drawn(study), trial, space)  # type: ignore
    return sampler


def by_chance(name: str, space: SearchSpace) -> list[str]:
    """List the flat names that a sampler which learns draws at random all the same: its model has no place for them."""
    if name not in _JOINT or name == "tpe":  # which has models of single parameters, too
        return []
    drawn = always_drawn(space)
    apart = [key for key, kind in drawn.items() if not _models(name, kind) and not kind.single()]
    return apart + [of.name for ranges in space.members.values() for of in ranges]


class Answering(BaseSampler):
    """Draws what was settled beforehand, by flat name."""

    def __init__(self, answers: Mapping[str, Value]) -> None:
        self._answers = answers

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Infer nothing: each question is answered by itself."""
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, object]:
        """Sample nothing together."""
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Value:
        """Give the settled answer to a question."""
        return self._answers[param_name]


def _models(name: str, each: BaseDistribution) -> bool:
    """Whether the sampler's joint model takes such a parameter; the others are drawn by themselves."""
    if name in _GENETIC:
        return not each.single()  # a crossover has no use for one value
    return name == "tpe" or not isinstance(each, CategoricalDistribution)


class _Drawn:
    """A study without its baseline, for a sampler that expects every trial to have drawn all parameters."""

    def __init__(self, study: optuna.Study) -> None:
        self._study = study

    def __getattr__(self, name: str) -> object:
        return getattr(self._study, name)

    def _get_trials(self, *given: Any, **named: Any) -> list[FrozenTrial]:
        return [trial for trial in self._study._get_trials(*given, **named) if trial.number]
