"""Tune's searchers and schedulers by their names in a study file."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ray.tune import TuneError, schedulers
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import SEARCH_ALG_IMPORT, Searcher

from regsearch.config import SearchConfig
from regsearch.config.fields import Options
from regsearch.errors import UserError
from regsearch.search.ray_tune.encoding import domains, numbers, within
from regsearch.search.ray_tune.proxy import EPOCH
from regsearch.space import SearchSpace, Value

OWN = ("random", "optuna")
"""Algorithms that are this package's own Optuna search, which tells trials that were ended early as pruned."""
_STARTUP = 10


def make_searcher(config: SearchConfig, space: SearchSpace, metric: str, mode: str) -> Searcher | None:
    """Make Tune's searcher of the study's algorithm over the flat encoding of its space; None for one of `OWN`.

    Raises:
        UserError: its package is missing, or does not take an option or this space.
    """
    name, options = config.algorithm_name, config.algorithm_options
    if name in OWN or config.is_population:
        return None
    try:
        find: Any = SEARCH_ALG_IMPORT[name]
        maker = find()
        seeds = {"hyperopt": "random_state_seed", "bayesopt": "random_state"}
        seeded = {seeds[name]: config.seed % 2**32} if name in seeds else {}
        searcher: Searcher = maker(**{**seeded, **options})
        searcher.set_search_properties(metric, mode, domains(space))
    except (ImportError, AssertionError, RuntimeError) as error:
        # So Tune's searchers say that their package is missing.
        said = " ".join(str(error).split())
        raise UserError(
            "the algorithm cannot be used",
            key="search.algorithm",
            value=name,
            allowed=f"its package may be missing: {said[:200]}",
        ) from None
    except (TypeError, ValueError) as error:
        raise UserError(str(error), key="search.algorithm", value=name, allowed="options of Tune's class") from None
    return searcher


def make_scheduler(config: SearchConfig, space: SearchSpace, epochs: int) -> TrialScheduler:
    """Make Tune's scheduler by its name in the study file; options go to Tune's class.

    Raises:
        UserError: an option that the scheduler does not take, or a population without a number to change.
    """
    name = config.scheduler_name
    first = _first(epochs)
    counted = {"time_attr": EPOCH}
    ranges, drawn = numbers(space), domains(space)
    if config.is_population and not ranges:
        raise UserError("a population needs a number to change", key="search.scheduler", value=name)
    population = {**counted, "perturbation_interval": first, "custom_explore_fn": _Bounded(space)}
    makers: dict[str, tuple[Callable[..., TrialScheduler], Options]] = {
        "asha": (
            schedulers.ASHAScheduler,
            {**counted, "max_t": epochs, "grace_period": first, "reduction_factor": 3},
        ),
        "hyperband": (schedulers.HyperBandScheduler, {**counted, "max_t": epochs, "reduction_factor": 3}),
        "median": (
            schedulers.MedianStoppingRule,
            {**counted, "grace_period": first, "min_samples_required": _STARTUP},
        ),
        "pbt": (
            schedulers.PopulationBasedTraining,
            {**population, "hyperparam_mutations": {key: drawn[key] for key in ranges}},
        ),
        "pb2": (
            _pb2,
            {**population, "hyperparam_bounds": {key: [of.low, of.high] for key, of in ranges.items()}},
        ),
        "none": (schedulers.FIFOScheduler, {}),
    }
    maker, given = makers[name]
    try:
        return maker(**{**given, **config.scheduler_options})
    except (TypeError, ValueError, AssertionError, TuneError) as error:
        allowed = ", ".join(option for option in given if option not in counted) or "none"
        raise UserError(
            str(error), key="search.scheduler", value=name, allowed=f"options are those of Tune's class, like {allowed}"
        ) from None


def decisions(config: SearchConfig, epochs: int) -> tuple[int, ...]:
    """List the epochs after which the study's scheduler may decide something over a trial, the last one among them.

    Those of ASHA's rungs, r·η^k with its `grace_period` r and `reduction_factor` η, in whichever bracket; with the
    scheduler `none` only the last; with any other each epoch counts.
    """
    if config.scheduler_name == "none":
        return (epochs,)
    given: Options = {"grace_period": _first(epochs), "reduction_factor": 3, "max_t": epochs}
    given |= config.scheduler_options
    if config.scheduler_name != "asha" or given["reduction_factor"] <= 1 or "time_attr" in config.scheduler_options:
        return tuple(range(1, epochs + 1))
    epochs_of_rungs, rung = {min(math.ceil(given["max_t"]), epochs), epochs}, given["grace_period"]
    while rung < epochs:
        epochs_of_rungs.add(max(1, math.ceil(rung)))
        rung *= given["reduction_factor"]
    return tuple(sorted(epochs_of_rungs))


def _first(epochs: int) -> int:
    """The epoch before which no trial is ended."""
    return max(1, round(epochs / 10))


def _pb2(**given: Any) -> TrialScheduler:
    from ray.tune.schedulers.pb2 import PB2

    scheduler: TrialScheduler = PB2(**given)
    return scheduler


class _Bounded:
    """Keeps numbers that a population explores within the study's space."""

    def __init__(self, space: SearchSpace) -> None:
        self._numbers = numbers(space)

    def __call__(self, config: dict[str, Value]) -> dict[str, Value]:
        return {
            key: within(self._numbers[key], value) if key in self._numbers else value for key, value in config.items()
        }
