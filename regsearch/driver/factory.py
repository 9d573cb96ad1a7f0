"""Choose who drives a study's search, by the engine of its study file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from regsearch.config import StudyConfig
from regsearch.data import Manifest
from regsearch.driver.base import StudyDriver
from regsearch.driver.plan import SearchPlan
from regsearch.driver.rounds import RoundDriver
from regsearch.executors.executor import Executor
from regsearch.search.grid import Grid
from regsearch.search.optuna import OptunaSearch
from regsearch.search.storage import Storage
from regsearch.space import SearchSpace
from regsearch.tasks import TASKS
from regsearch.tracking.log.history import StudyHistory
from regsearch.tracking.log.outbox import Outbox
from regsearch.trial import Trial
from regsearch.workspace.spec import StudySpec


def bound_trials(config: StudyConfig, space: SearchSpace) -> tuple[StudyConfig, str | None]:
    """Bound a study's trials by the settings of its grid, and say in a line how the two fit where they differ.

    Args:
        space: what trials draw from, over the layers of the model.
    """
    if config.search.engine != "optuna" or config.search.sampler != "grid":
        return config, None
    grid, asked = Grid(space, config.search.seed), config.search.trials
    search = config.search.model_copy(update={"trials": min(asked, grid.size + 1)})
    return config.model_copy(update={"search": search}), grid.words(asked)


def make_driver(
    spec: StudySpec,
    manifest: Manifest,
    space: SearchSpace,
    executor: Executor,
    outbox: Outbox,
    storage: Storage,
    tags: Callable[[Trial], dict[str, str]],
) -> StudyDriver[Any]:
    """Make the driver of a search, Optuna's rounds or Ray Tune, from wherever the study's storage stands.

    Args:
        space: what trials are drawn from, over the layers of the model.
        storage: where the trials' memory is kept.
        tags: of a trial's run.
    """
    config = spec.config.search
    bounded, _ = bound_trials(spec.config, space)
    plan = SearchPlan.of(bounded, TASKS[manifest.task].higher, spec.created_ms)
    curves = StudyHistory.read(outbox.path).reports()
    directions = list(plan.directions)
    if config.engine == "optuna":
        search = OptunaSearch(spec.name, space, config, storage, directions, plan.epochs)
        return RoundDriver(search, outbox, executor, plan, curves, tags)
    from regsearch.driver.tune import TuneDriver
    from regsearch.search.ray_tune.session import TuneSearch

    sampler = "random" if config.algorithm_name == "random" else "tpe"
    asked = config.model_copy(update={"sampler": sampler, "pruner": "none"})
    tune = TuneSearch(
        OptunaSearch(spec.name, space, asked, storage, directions, plan.epochs),
        space,
        spec.folder.path,
        metric=plan.objectives[0],
        maximize=directions[0] == "maximize",
        epochs=plan.epochs,
        total=plan.trials,
        parallel=config.parallel,
    )
    return TuneDriver(tune, outbox, executor, spec.folder.snapshots, plan, curves, tags)
